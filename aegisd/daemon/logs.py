"""Sets up the log: structlog to standard error, in a form for a terminal, journald or a program.

Every message is a short sentence with its figures as keys. No secret gets here: texts that may hold
one are masked where they are read, and tracebacks show no values of variables.
"""

import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from aegisd.config.settings import Log

_SYSLOG_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def configure(settings: Log) -> None:
    """Set up the log for this process."""
    form = settings.format if settings.format != "auto" else _suitable_format()
    processors: list[structlog.typing.Processor] = [structlog.processors.add_log_level]
    if form != "journald":  # journald adds the time
        processors.append(structlog.processors.TimeStamper(fmt="iso", utc=True))
    if form == "json":
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    elif form == "journald":
        processors.append(_priority_of(_console(colors=False, pad_level=False)))
    else:
        processors.append(_console(colors=sys.stderr.isatty(), pad_level=True))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(
            getattr(logging, settings.level.upper())
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _console(*, colors: bool, pad_level: bool) -> structlog.dev.ConsoleRenderer:
    # with rich installed, structlog's default formatter would show the values of variables
    return structlog.dev.ConsoleRenderer(
        colors=colors,
        pad_event_to=0,
        pad_level=pad_level,
        exception_formatter=structlog.dev.plain_traceback,
    )


def _suitable_format() -> str:
    """journald's form where standard error goes there (systemd.exec(5), JOURNAL_STREAM)."""
    stream = os.environ.get("JOURNAL_STREAM", "")
    status = os.fstat(sys.stderr.fileno())
    return "journald" if stream == f"{status.st_dev}:{status.st_ino}" else "console"


def _priority_of(render: structlog.typing.Processor) -> structlog.typing.Processor:
    """Put each line's priority in front, as sd-daemon(3) says, in place of the level's name."""

    def processor(logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
        priority = _SYSLOG_PRIORITY[event.pop("level")]
        text = str(render(logger, name, event))
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines())

    return processor
