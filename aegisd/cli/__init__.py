"""The command line. Exit codes: 0 done, 1 failed, 2 usage or configuration."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from aegisd import __version__
from aegisd.cli.top.cells import clean, escaped, toml_escape
from aegisd.config.load import Directories, as_toml_values, load
from aegisd.errors import AegisdError, ConfigError

FAILED = 1
WRONG_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int | None] = options.command
    try:
        code = command(options) or 0
        if sys.stdout is not None:  # it may be closed
            sys.stdout.flush()
    except* ConfigError as group:
        _complain(group)
        code = WRONG_USAGE
    except* AegisdError as group:
        _complain(group)
        code = FAILED
    except* KeyboardInterrupt:
        code = FAILED
    except* BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the rest is still flushed
        code = FAILED
    return code


def _complain(group: BaseExceptionGroup[AegisdError]) -> None:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            _complain(error)
        else:
            for line in map(clean, str(error).split("\n")):
                print(
                    line if isinstance(error, ConfigError) else f"aegisd: {line}", file=sys.stderr
                )


class _Parser(argparse.ArgumentParser):
    """Shows arguments without what a terminal would obey."""

    def error(self, message: str) -> NoReturn:
        super().error(clean(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="aegisd", description="A sidecar daemon for API gateways: metrics live and stored."
    )
    parser.add_argument("--version", action="version", version=f"aegisd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run the daemon in the foreground")
    run.set_defaults(command=_run)
    check = commands.add_parser("check-config", help="say what is wrong with the configuration")
    check.set_defaults(command=_check_config)
    config = commands.add_parser("config", help="print the effective configuration")
    config.set_defaults(command=_config)
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

    for command in (send, import_):
        command.add_argument(
            "--to", metavar="ADDRESS", help="unix:PATH, stream:PATH or udp:HOST:PORT"
        )
    for command in (run, check, config, migrate, policy, send, import_, journal, top):
        command.add_argument(
            "--config", type=Path, metavar="FILE", help="default: $AEGISD_CONFIG, then /etc/aegisd"
        )
    return parser


# What a command needs is imported when it runs: --version and send need no trio and no database.


def _run(options: argparse.Namespace) -> None:
    import trio  # noqa: PLC0415

    from aegisd.daemon import configure_log, run  # noqa: PLC0415

    settings = load(options.config)
    configure_log(settings.log)
    trio.run(run, settings, Directories.here())


def _check_config(options: argparse.Namespace) -> None:
    load(options.config)


def _config(options: argparse.Namespace) -> None:
    import tomli_w  # noqa: PLC0415

    text = tomli_w.dumps(as_toml_values(load(options.config)))
    print(escaped(text, toml_escape), end="")


def _migrate(options: argparse.Namespace) -> None:
    import trio  # noqa: PLC0415

    from aegisd.daemon import configure_log, migrate  # noqa: PLC0415

    settings = load(options.config)
    configure_log(settings.log)
    trio.run(migrate, settings, Directories.here(), options.grant)


def _policy(options: argparse.Namespace) -> None:
    import trio  # noqa: PLC0415

    from aegisd.cli.policy import policy  # noqa: PLC0415

    trio.run(policy, load(options.config), Directories.here().state, options.set)


def _journal(options: argparse.Namespace) -> None:
    from aegisd.cli import journal  # noqa: PLC0415

    storage = load(options.config).storage
    directory = Path(Directories.here().expand(storage.journal))
    {"inspect": journal.inspect, "repair": journal.repair_journal, "export": journal.export}[
        options.action
    ](directory)


def _send(options: argparse.Namespace) -> None:
    from aegisd.cli.sending import send  # noqa: PLC0415
    from aegisd.cli.sending.address import open_sender  # noqa: PLC0415
    from aegisd.cli.sending.lines import standard_input  # noqa: PLC0415

    with open_sender(options.to, options.config) as sender:
        if options.event == ["-"]:
            send.send_lines(sender, options.kind, standard_input())
        else:
            send.send_pairs(sender, options.kind, options.event)


def _import(options: argparse.Namespace) -> int:
    from aegisd.cli.sending.address import open_sender  # noqa: PLC0415
    from aegisd.cli.sending.import_log import import_log  # noqa: PLC0415

    with open_sender(options.to, options.config) as sender:
        whole = import_log(sender, options.file, rebase=options.rebase, speed=options.speed)
    return 0 if whole else FAILED


def _top(options: argparse.Namespace) -> None:
    from aegisd.cli.top.top import top  # noqa: PLC0415

    top(options.url, options.config)
