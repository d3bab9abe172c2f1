"""Parses the command line, runs the command, prints what failed.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.

A command's module is imported when it runs. So ``aegisd --version`` starts without trio and numpy,
and ``aegisd send`` without trio and the daemon.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from aegisd import __version__
from aegisd.cli.printable import clean
from aegisd.errors import AegisdError, ConfigError

DONE, FAILED, WRONG_USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int | None] = options.command
    try:
        code = command(options) or DONE
        if sys.stdout is not None:  # it may be closed
            sys.stdout.flush()
    except* ConfigError as group:
        _print_errors(group)
        code = WRONG_USAGE
    except* AegisdError as group:
        _print_errors(group)
        code = FAILED
    except* KeyboardInterrupt:
        code = FAILED
    except* BrokenPipeError:  # the reader of our output, such as head, has enough
        # Python flushes the rest at exit, so it needs a place to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    return code


def _print_errors(group: BaseExceptionGroup[AegisdError]) -> None:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            _print_errors(error)
        else:
            for line in map(clean, str(error).split("\n")):
                print(
                    line if isinstance(error, ConfigError) else f"aegisd: {line}", file=sys.stderr
                )


# the parser


class _Parser(argparse.ArgumentParser):
    """Prints wrong arguments without control characters."""

    def error(self, message: str) -> NoReturn:
        super().error(clean(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="aegisd", description="A sidecar daemon for API gateways: metrics live and stored."
    )
    parser.add_argument("--version", action="version", version=f"aegisd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_daemon_commands(commands)
    _add_sending_commands(commands)
    _add_looking_commands(commands)
    for command in commands.choices.values():
        command.add_argument(
            "--config", type=Path, metavar="FILE", help="default: $AEGISD_CONFIG, then /etc/aegisd"
        )
    return parser


def _add_daemon_commands(commands: Any) -> None:
    run = commands.add_parser("run", help="run the daemon in the foreground")
    run.set_defaults(command=_run)

    check = commands.add_parser("check-config", help="say what is wrong with the configuration")
    check.set_defaults(command=_check_config)

    config = commands.add_parser("config", help="print the effective configuration")
    config.set_defaults(command=_print_config)

    migrate = commands.add_parser("migrate", help="create or upgrade the database schema")
    migrate.add_argument(
        "--grant", metavar="ROLE", help="let a role that does not own the tables run the daemon"
    )
    migrate.set_defaults(command=_migrate)

    policy = commands.add_parser("policy", help="what the database keeps for how many days")
    policy.add_argument(
        "--set", action="store_true", help="make what this configuration says the policy"
    )
    policy.set_defaults(command=_policy)

    token = commands.add_parser("token", help="make a bearer token, and the entry for http.tokens")
    token.add_argument("name", metavar="NAME", help="whose it is")
    token.add_argument(
        "--role", choices=["viewer", "admin"], default="viewer", help="an admin may change things"
    )
    token.set_defaults(command=_token)


def _add_sending_commands(commands: Any) -> None:
    send = commands.add_parser("send", help="send one event, or JSON lines from standard input")
    send.add_argument("--kind", help="request (the default), rate_limit, backend or system")
    send.add_argument("event", nargs="+", metavar="key=value", help="its fields; or - alone")
    send.set_defaults(command=_send)

    import_ = commands.add_parser("import", help="send an access log as events")
    import_.add_argument("--format", default="combined", choices=["combined"])
    import_.add_argument("--rebase", action="store_true", help="shift its times so it ends now")
    import_.add_argument("--speed", type=float, metavar="X", help="replay at X times its own pace")
    import_.add_argument("file", metavar="FILE", help="the log; - is standard input")
    import_.set_defaults(command=_import)

    for command in (send, import_):
        command.add_argument(
            "--to", metavar="ADDRESS", help="unix:PATH, stream:PATH or udp:HOST:PORT"
        )


def _add_looking_commands(commands: Any) -> None:
    journal = commands.add_parser("journal", help="look into a stopped daemon's journal")
    journal.add_argument(
        "action",
        choices=["inspect", "repair", "export"],
        help="say what it holds; cut out what is damaged; print its events as JSON lines",
    )
    journal.set_defaults(command=_journal)

    top = commands.add_parser("top", help="the live view in a terminal")
    top.add_argument(
        "--url",
        metavar="URL",
        help="http://HOST:PORT of the daemon (or https://, ws://, wss://);"
        " default: what the configuration listens on",
    )
    top.set_defaults(command=_top)


# the commands, each imported when it runs


def _run(options: argparse.Namespace) -> None:
    from aegisd.cli.run import run  # noqa: PLC0415

    run(options.config)


def _check_config(options: argparse.Namespace) -> None:
    from aegisd.cli.config import check_config  # noqa: PLC0415

    check_config(options.config)


def _print_config(options: argparse.Namespace) -> None:
    from aegisd.cli.config import print_config  # noqa: PLC0415

    print_config(options.config)


def _migrate(options: argparse.Namespace) -> None:
    from aegisd.cli.migrate import migrate  # noqa: PLC0415

    migrate(options.config, options.grant)


def _policy(options: argparse.Namespace) -> None:
    from aegisd.cli.policy import policy  # noqa: PLC0415

    policy(options.config, options.set)


def _token(options: argparse.Namespace) -> None:
    from aegisd.cli.token import token  # noqa: PLC0415

    token(options.name, options.role)


def _send(options: argparse.Namespace) -> None:
    from aegisd.cli.send import send  # noqa: PLC0415

    send(options.to, options.config, options.kind, options.event)


def _import(options: argparse.Namespace) -> int:
    from aegisd.cli.import_log import import_log  # noqa: PLC0415

    complete = import_log(
        options.to, options.config, options.file, rebase=options.rebase, speed=options.speed
    )
    return DONE if complete else FAILED


def _journal(options: argparse.Namespace) -> None:
    from aegisd.cli.journal import journal  # noqa: PLC0415

    journal(options.config, options.action)


def _top(options: argparse.Namespace) -> None:
    from aegisd.cli.top import show_live_view  # noqa: PLC0415

    show_live_view(options.url, options.config)
