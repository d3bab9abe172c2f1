"""What an error means: the database can't be used now, or it refuses rows.

A row that Postgres refuses is refused each time it is sent; a database that is away comes back. So
the writer leaves refused rows out, and waits for the database. The SQLSTATE tells the two apart: an
error is the rows' fault unless it is about the connection, resources, a shutdown, privileges, or a
conflict with other transactions. Rows' faults are an operator's CHECK, trigger, unique index or
foreign key, a partition that can't be made, a foreign table that takes no rows.
Source: PostgreSQL manual, appendix "PostgreSQL Error Codes".
"""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from aegisd.errors import DataRefused

UNAVAILABLE = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""The errors of a database that can't be used now."""

ConnectionLost = asyncpg.ConnectionDoesNotExistError
DuplicateTable = asyncpg.DuplicateTableError
InterfaceError = asyncpg.InterfaceError
LockNotAvailable = asyncpg.LockNotAvailableError
QueryCanceled = asyncpg.QueryCanceledError
SerializationFailure = asyncpg.SerializationError
UndefinedFunction = asyncpg.UndefinedFunctionError
UndefinedTable = asyncpg.UndefinedTableError

_OTHER_FAULT_CLASSES = frozenset(
    {
        "08",  # a connection that the server makes: to a worker of Citus, to a foreign server
        "25",  # a transaction that may only read: a standby
        "26",  # a statement that a pooler has lost
        "28",  # authentication
        "3D",  # no such database
        "3F",  # no such schema
        "40",  # a deadlock, a conflict with other transactions
        "53",  # resources
        "57",  # shutdown, time-out
        "58",  # the server's system
        "XX",  # a fault of the server, or of its files
    }
)

_OTHER_FAULT_CODES = frozenset(
    {
        "42501",  # privileges
        "55006",  # object in use
        "55P03",  # lock not available
        "HV00N",  # no connection to a foreign server
    }
)

_FATAL = ("FATAL", "PANIC")  # severities that end the session


def is_refusal(error: BaseException) -> bool:
    """Whether an error, sent by the server, is the rows' fault."""
    state = getattr(error, "sqlstate", None)
    severity = getattr(error, "severity", None)  # None: the driver has raised it
    if not isinstance(state, str) or severity is None or severity in _FATAL:
        return False
    return state[:2] not in _OTHER_FAULT_CLASSES and state not in _OTHER_FAULT_CODES


def refusal_sql(state: str) -> str:
    """``is_refusal`` in PL/pgSQL, for the variable ``state`` that holds an SQLSTATE."""
    classes = ", ".join(f"'{each}'" for each in sorted(_OTHER_FAULT_CLASSES))
    codes = ", ".join(f"'{each}'" for each in sorted(_OTHER_FAULT_CODES))
    return f"left({state}, 2) NOT IN ({classes}) AND {state} NOT IN ({codes})"


@contextmanager
def values_checked() -> Iterator[None]:
    """Raise DataRefused for values that Postgres refuses, or that the driver can't send."""
    try:
        yield
    except (asyncpg.DataError, ValueError, TypeError, OverflowError) as error:
        raise DataRefused(first_line(error)) from error


@contextmanager
def rows_checked() -> Iterator[None]:
    """Raise DataRefused for any error that is the rows' fault."""
    try:
        with values_checked():
            yield
    except asyncpg.PostgresError as error:
        if not is_refusal(error):
            raise
        raise DataRefused(first_line(error)) from error


def first_line(error: BaseException) -> str:
    """The first line of an error's text; the name of its class where it has no text."""
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
