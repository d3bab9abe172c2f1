"""What the keys do: sort and filter the tables, quit. Pure."""

import re
from enum import Enum

from attrs import evolve, frozen

MAX_FILTER = 64
"""Characters of a filter; a line of 80 columns shows them all."""

_KEY = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.)|.", re.DOTALL)  # ECMA-48, 5.4: CSI, and SS3
_ESCAPE, _ERASE = "\x1b", ("\x7f", "\b")


class Sort(Enum):
    """A column that the endpoints are sorted by, largest first."""

    REQUESTS = "requests"
    ERRORS = "errors %"
    AVERAGE = "avg ms"
    P95 = "p95 ms"


@frozen
class Controls:
    """How the tables are shown. ``typing``: keys go into the filter."""

    sort: Sort = Sort.REQUESTS
    reverse: bool = False
    filter: str = ""
    typing: bool = False
    quit: bool = False

    def press(self, keys: str) -> "Controls":
        """The state after these keys. Keys without a meaning, arrows among them, change nothing."""
        controls = self
        for key in _KEY.findall(keys):
            controls = controls._type(key) if controls.typing else controls._command(key)
        return controls

    def matches(self, *texts: str) -> bool:
        """Whether a row with these texts passes the filter."""
        wanted = self.filter.casefold()
        return any(wanted in text.casefold() for text in texts)

    def _command(self, key: str) -> "Controls":
        match key.lower():
            case "q":
                return evolve(self, quit=True)
            case "s":
                columns = list(Sort)
                return evolve(self, sort=columns[(columns.index(self.sort) + 1) % len(columns)])
            case "r":
                return evolve(self, reverse=not self.reverse)
            case "/":
                return evolve(self, typing=True)
            case "\x1b":
                return evolve(self, filter="")
        return self

    def _type(self, key: str) -> "Controls":
        if key in ("\r", "\n"):
            return evolve(self, typing=False)
        if key == _ESCAPE:
            return evolve(self, typing=False, filter="")
        if key in _ERASE:
            return evolve(self, filter=self.filter[:-1])
        if key.isprintable():
            return evolve(self, filter=(self.filter + key)[:MAX_FILTER])
        return self
