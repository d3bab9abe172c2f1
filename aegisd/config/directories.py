"""The directories of this machine that the settings name as ``{runtime}`` and ``{state}``."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen


@frozen
class Directories:
    """The directories behind ``{runtime}`` and ``{state}``, and the name behind ``{hostname}``."""

    runtime: Path
    state: Path
    hostname: str

    @classmethod
    def of(cls, environment: Mapping[str, str], uid: int) -> "Directories":
        """Systemd's directories where it names some; else the system's for root, XDG's for users.

        Without an XDG runtime directory, as under su or in a container, it is ``{state}/run``.
        """
        home = Path(environment.get("HOME") or "/")
        if given := environment.get("STATE_DIRECTORY"):
            state = Path(given.split(":")[0])  # systemd joins several with colons
        elif uid == 0:
            state = Path("/var/lib/aegisd")
        else:
            state = Path(environment.get("XDG_STATE_HOME") or home / ".local/state") / "aegisd"
        if given := environment.get("RUNTIME_DIRECTORY"):
            runtime = Path(given.split(":")[0])
        elif uid == 0:
            runtime = Path("/run/aegisd")
        elif given := environment.get("XDG_RUNTIME_DIR"):
            runtime = Path(given) / "aegisd"
        else:
            runtime = state / "run"
        return cls(runtime=runtime, state=state, hostname=socket.gethostname())

    @classmethod
    def here(cls) -> "Directories":
        """The directories of this process."""
        return cls.of(os.environ, os.getuid())

    def expand(self, text: str) -> str:
        """``text`` with its placeholders replaced."""
        return (
            text.replace("{runtime}", str(self.runtime))
            .replace("{state}", str(self.state))
            .replace("{hostname}", self.hostname)
        )
