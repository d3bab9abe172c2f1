"""The errors that aegisd raises for others to catch. A text names what failed and the remedy.

    AegisdError                 exit code 1
        ConfigError             exit code 2
        DatabaseUnavailable     exit code 1, where nothing catches it
            DatabaseSlow
            SchemaError
        DataRefused             is always caught

``cli.main`` prints what nobody else catches, and exits. Some packages derive errors of their own
from these: ``Busy`` and ``PartitionUnmade`` in store.database, ``ActionFailed`` in alerts,
``MessageTooLarge`` in cli.sending.

Errors that derive from Exception alone are caught where they are known, and never printed by
``cli.main``: ``JournalUnavailable`` goes from the store to the intake, ``JournalFull`` from the
journal to the backlog. ``NotWhole`` stays in store.journal, ``HttpError`` in web. Those of wire and
of cli stay there, too.
"""


class AegisdError(Exception):
    """Something that the operator can mend; the text is the line to print.

    Raised for sockets, systemd's sockets, the journal, the embedded Postgres, and by commands.
    While the daemon runs, an embedded Postgres that can't be restarted is only logged.
    """


class ConfigError(AegisdError):
    """The configuration or the usage is wrong. ``problems`` has a line for each problem.

    Raised by ``config``, and by commands for their options.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DatabaseUnavailable(AegisdError):
    """Postgres can't be used now: it is away, refuses us, or has a schema of another version.

    Raised by ``store.database`` and ``store.history``. In the daemon the writer, the upkeep and the
    alerts catch it and try again later, and the API answers 503.
    """


class DatabaseSlow(DatabaseUnavailable):
    """Postgres did not answer in time; a smaller batch may succeed.

    Raised by ``store.database``. The writer treats it as its base class, and makes its next batches
    a quarter as large.
    """


class SchemaError(DatabaseUnavailable):
    """Postgres answers, but this version can't work with its schema.

    Raised by ``store.schema`` and ``store.database``; nothing treats it apart.
    """


class DataRefused(AegisdError):
    """Postgres answers, but refuses these values.

    Raised by ``store.database``. The writer leaves out the rows, and alerts leave out the alert.
    The upkeep and the API treat it as DatabaseUnavailable.
    """


def kind_of(error: BaseException) -> str:
    """The name of the error's class, which everybody may see.

    The text may name addresses, roles and paths, which only the operator may see. For one of
    aegisd's errors it is the class of the error that caused it, such as asyncpg's.
    """
    if isinstance(error, AegisdError):
        error = error.__cause__ or error.__context__ or error
    return type(error).__name__
