"""The errors the house raises itself; each message names what, where and the remedy."""


class AegisdError(Exception):
    """Something the operator can mend; its text is the one line to print. Exit code 1."""


class ConfigError(AegisdError):
    """The configuration is wrong. Exit code 2.

    ``problems`` holds one line for each, all that were found at once.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DatabaseUnavailable(AegisdError):
    """Postgres can't be used now: away, refusing, or with a schema this version can't use."""


class DatabaseSlow(DatabaseUnavailable):
    """The database did not answer in time: less at once may go through."""


class SchemaError(DatabaseUnavailable):
    """The database answers, but its schema is not one this version can work with."""


def kind_of(error: BaseException) -> str:
    """What kind of error it is, for everybody: its text may name addresses, roles and paths.

    Of an error of ours that stands for another's it is the kind of the other.
    """
    if isinstance(error, AegisdError):
        error = error.__cause__ or error.__context__ or error
    return type(error).__name__


class DataRefused(AegisdError):
    """Postgres is there and won't take these rows."""
