"""The alerts that changed last, each in its newest state: for clients that come back.

Changes are numbered. A client that saw an alert can't say in which state it saw it, so it gets all
that changed after that alert was first announced.
"""

from attrs import define

from aegisd.web.websocket.messages import Message

MAX_REMEMBERED = 200
"""Some 100 kB. The one that changed longest ago gives way."""


@define
class _Remembered:
    first: int
    newest: int
    message: Message


class RecentAlerts:
    """Alerts by their id, in the order of their last change."""

    def __init__(self) -> None:
        self._alerts: dict[str, _Remembered] = {}
        self.newest = 0
        """The number of the last change."""

    def add(self, id_: str, message: Message) -> None:
        """Remember an alert's newest state."""
        self.newest += 1
        before = self._alerts.pop(id_, None)
        first = self.newest if before is None else before.first
        self._alerts[id_] = _Remembered(first, self.newest, message)
        if len(self._alerts) > MAX_REMEMBERED:
            del self._alerts[next(iter(self._alerts))]

    def __contains__(self, id_: str) -> bool:
        return id_ in self._alerts

    def after(self, number: int) -> list[Message]:
        """The alerts that changed after this change."""
        found = []
        for alert in reversed(self._alerts.values()):
            if alert.newest <= number:
                break
            found.append(alert.message)
        return found[::-1]

    def since(self, id_: str) -> list[Message]:
        """The alerts that changed after this one was announced; all, where it is not remembered."""
        seen = self._alerts.get(id_)
        return self.after(0 if seen is None else seen.first)
