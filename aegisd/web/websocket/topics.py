"""The topics of the metrics message, and what of them changed since a client's last message.

A refresh takes the time; a topic is made when a client first wants it after that, once for all
clients: late in the interval it shows the live state of that moment. Refreshes are numbered. A
client that gets only changes (*delta*) has the number of its last message, its *base*; all clients
with the same topics and base share one message. A client that missed refreshes has an older base,
and gets all that changed since: nothing is kept for it.
"""

from attrs import define

from aegisd.live import LiveState
from aegisd.times import rfc3339
from aegisd.web import views
from aegisd.web.http import to_json
from aegisd.web.websocket.messages import Message
from aegisd.web.websocket.series import SERIES_TOPICS, SeriesTopics

TOPICS = ("overview", *SERIES_TOPICS, "topEndpoints", "backends")
TOP_ENDPOINTS = 10


@define
class _Whole:
    """A topic that is sent as a whole; ``made`` and ``changed`` are numbers of refreshes."""

    text: str = ""
    made: int = 0
    changed: int = 0


class Board:
    """All topics. ``refresh`` must come first."""

    def __init__(self, live: LiveState) -> None:
        self._live = live
        self._now = 0
        self.number = 0
        """The number of the last refresh."""
        self._series = SeriesTopics(live)
        self._series_made = 0
        self._whole = {topic: _Whole() for topic in TOPICS if topic not in SERIES_TOPICS}
        self._messages: dict[tuple[frozenset[str], int | None], Message] = {}

    def refresh(self, now: int) -> None:
        """Let the topics be made anew; ``now`` is in microseconds since 1970."""
        self._now = now
        self.number += 1
        self._messages.clear()

    def message(self, topics: frozenset[str], base: int | None) -> Message:
        """A metrics message: whole, or what changed after the refresh ``base``."""
        key = (topics, base)
        message = self._messages.get(key)
        if message is None:
            message = self._messages[key] = Message(self._text(topics, base))
        return message

    def _text(self, topics: frozenset[str], base: int | None) -> str:
        if topics.intersection(SERIES_TOPICS) and self._series_made != self.number:
            self._series_made = self.number
            self._series.refresh(self._now, self.number)
        if base is not None and base < self._series.whole_since:
            base = None
        parts = {topic: self._part(topic, base) for topic in TOPICS if topic in topics}
        data = ",".join(f'"{topic}":{part}' for topic, part in parts.items() if part)
        delta = "" if base is None else '"delta":true,'
        return f'{{"type":"metrics",{delta}"timestamp":"{rfc3339(self._now)}","data":{{{data}}}}}'

    def _part(self, topic: str, base: int | None) -> str:
        """A topic's JSON; empty where it has not changed since ``base``."""
        if topic in SERIES_TOPICS:
            points = self._series.points(topic, base)
            return "" if base is not None and points == "[]" else points
        whole = self._whole[topic]
        if whole.made != self.number:
            whole.made = self.number
            text = self._made(topic)
            if text != whole.text:
                whole.text, whole.changed = text, self.number
        return "" if base is not None and whole.changed <= base else whole.text

    def _made(self, topic: str) -> str:
        match topic:
            case "overview":
                return to_json(views.overview(self._live.overview()))
            case "topEndpoints":
                return to_json(views.live_endpoints(self._live.top_endpoints(TOP_ENDPOINTS)))
            case _:
                backends = self._live.overview().backends
                return to_json(views.backends(backends, self._live.observed_backends()))
