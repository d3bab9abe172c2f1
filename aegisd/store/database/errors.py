"""Tells what Postgres says of rows from what it says of itself. Pure.

A row that is refused is refused again however often it is sent; a database that is away comes back.
So whatever is no fault of the connection, of resources, of a shutdown, of privileges or of others
at the same time, is the rows' fault: an operator's CHECK, trigger, unique index or foreign key, a
partition that can't be had, a foreign table that takes no rows.
Source: PostgreSQL manual, appendix "PostgreSQL Error Codes".
"""

_AWAY_CLASSES = frozenset(
    {
        "08",  # a connection of the server's own: to a worker of Citus, to a foreign server
        "25",  # a transaction that may only read: a standby
        "26",  # a statement that a pooler has lost
        "28",  # authentication
        "3D",  # no such database
        "3F",  # no such schema
        "40",  # a deadlock, a conflict with others
        "53",  # resources
        "57",  # shutdown, time-out
        "58",  # the server's system
        "XX",  # a fault of the server, or of its files
    }
)

_AWAY_CODES = frozenset(
    {
        "42501",  # privileges
        "55006",  # in use
        "55P03",  # a lock that is not to be had
        "HV00N",  # no connection to a foreign server
    }
)

_FATAL = ("FATAL", "PANIC")  # the session ends with these


def is_refusal(error: BaseException) -> bool:
    """Whether an error of asyncpg tells of rows, as sent by the server."""
    state = getattr(error, "sqlstate", None)
    severity = getattr(error, "severity", None)  # None: the client's own
    if not isinstance(state, str) or severity is None or severity in _FATAL:
        return False
    return state[:2] not in _AWAY_CLASSES and state not in _AWAY_CODES


def refusing_sql(state: str) -> str:
    """The same in PL/pgSQL, of a variable that holds an SQLSTATE."""
    classes = ", ".join(f"'{each}'" for each in sorted(_AWAY_CLASSES))
    codes = ", ".join(f"'{each}'" for each in sorted(_AWAY_CODES))
    return f"left({state}, 2) NOT IN ({classes}) AND {state} NOT IN ({codes})"
