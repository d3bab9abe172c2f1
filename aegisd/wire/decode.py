"""The Decoder: bytes in; blocks that may be kept, rejects and flows out.

A message is read in one of two ways. The answer is the same, for any bytes.

1. The quick way (``quick``) reads plain messages: requests and nothing unusual, as gateways mostly
   send. msgspec unpacks and checks them in C.
2. The careful way (``careful``) reads every other message: it unpacks it, checks value by value,
   and accepts or rejects each event.

The message alone decides which way it goes: it is plain if it fits one of four msgspec types, its
timestamps are in range, and a seq has a source. The quick way rejects nothing: what it can't take
goes the careful way, and all rejects come from there.

Both ways make blocks. Each block then has its texts cleaned (``texts``), is stripped of what
``privacy`` says, and gets endpoints (``naming``). A burst comes in parts of a bounded number of
events, so that the caller can do other things between two parts. Every event is either accepted or
rejected; what can't be read as a message counts as one rejected event.
"""

from collections.abc import Collection, Iterator, Sequence

from attrs import Factory, define, evolve, frozen

from aegisd.config.settings import Privacy
from aegisd.events.block import Block
from aegisd.events.flows import Flows
from aegisd.events.protocol import KINDS, SOURCE
from aegisd.wire.careful.envelopes import OpenedMessages, Reject
from aegisd.wire.careful.reader import CarefulReader
from aegisd.wire.checks import TimeLimits
from aegisd.wire.naming.endpoints import EndpointNamer
from aegisd.wire.privacy import protect
from aegisd.wire.quick import QuickReader
from aegisd.wire.texts import clean_block, clean_column

MAX_PART_EVENTS = 2048
"""A part ends here. Decoding, naming, counting and keeping so many events takes 2 ms, or 10 ms if
each has a path of its own; nothing else runs meanwhile. Larger parts would hardly be cheaper."""

MAX_PART_BYTES = 256 * 1024
"""The same for events that are large."""


@frozen(eq=False)
class Decoded:
    """One part of a burst.

    ``counts[i]`` events of the part, good or rejected, came in message ``messages[i]``; tests and
    fuzzing check by them that none is lost or counted twice. A message's events come in their order
    there. ``altered`` texts were cut or mended. ``disabled`` good events are of kinds that are off.
    ``unreadable`` are the numbers of messages that could not be read.
    """

    blocks: list[Block]
    rejects: list[Reject]  # one for each reason and field
    altered: int
    disabled: int
    flows: Flows
    messages: list[int]
    counts: list[int]
    unreadable: list[int]


class Decoder:
    """Decodes bursts into blocks that may be kept.

    ``max_age`` is the age in microseconds beyond which an event is out of range. ``privacy`` says
    what is removed from requests, ``namer`` gives them their endpoints. Events of kinds that are
    not in ``kinds`` are checked and counted, and go no further. Of the events nothing is
    remembered, except paths by the namer.
    """

    def __init__(
        self,
        max_age: int,
        privacy: Privacy,
        namer: EndpointNamer,
        kinds: Collection[str] = frozenset(KINDS),
    ) -> None:
        self._max_age = max_age
        self._privacy = privacy
        self._namer = namer
        self._kinds = kinds
        self._quick = QuickReader()
        self._careful = CarefulReader()

    def decode(self, messages: Sequence[bytes], now: int) -> Iterator[Decoded]:
        """Decode a burst, part by part; ``now`` is in microseconds since 1970.

        What takes long without giving events comes as parts without any.
        """
        limits = TimeLimits(now, self._max_age)
        plain, others = self._quick.open(messages, limits)
        part = _PartBuilder()
        for requests in plain:
            part.flows.append(requests.flows)
            within_bytes = MAX_PART_BYTES * len(requests.events) // requests.nbytes + 1
            size = min(within_bytes, MAX_PART_EVENTS)
            for block, numbers, counts in requests.parts(size, limits):
                self._add(block, part)
                part.count(numbers, counts)
                if part.size >= size:
                    yield part.decoded()
                    part = _PartBuilder()
        for opened in self._careful.open(messages, others):
            if opened is None:
                yield part.decoded()
                part = _PartBuilder()
                continue
            for block in self._careful.read(opened, limits):
                for few in block.with_few_values(MAX_PART_EVENTS):
                    self._add(few, part)
                    if part.size >= MAX_PART_EVENTS:
                        yield part.decoded()
                        part = _PartBuilder()
            part.add_all_but_events(opened)
            if opened.full:
                yield part.decoded()
                part = _PartBuilder()
        if part.numbers or part.flows:
            yield part.decoded()

    def _add(self, block: Block, part: "_PartBuilder") -> None:
        """Add a block as it may be kept, if its kind is on."""
        cleaned, altered = clean_block(block)
        part.size += block.size
        part.altered += altered
        if block.kind in self._kinds:
            part.blocks.append(self._namer.name(protect(cleaned, self._privacy)))
        else:
            part.disabled += block.size


@define
class _PartBuilder:
    """Collects what becomes one ``Decoded``; ``size`` counts its good events."""

    size: int = 0
    blocks: list[Block] = Factory(list)
    rejects: list[Reject] = Factory(list)
    altered: int = 0
    disabled: int = 0
    flows: list[Flows] = Factory(list)
    numbers: list[int] = Factory(list)
    counts: list[int] = Factory(list)
    unreadable: list[int] = Factory(list)

    def count(self, numbers: list[int], counts: list[int]) -> None:
        """Note how many events came in which messages."""
        self.numbers += numbers
        self.counts += counts

    def add_all_but_events(self, opened: OpenedMessages) -> None:
        """Add what messages of the careful way hold beside good events."""
        self.flows.append(Flows.of(opened.flows))
        self.rejects += opened.rejects()
        self.unreadable += opened.unreadable
        self.count(opened.numbers, opened.counts())

    def decoded(self) -> Decoded:
        """The part."""
        flows = Flows.concatenate(self.flows)
        if len(flows.counts):
            sources, changed = clean_column(flows.sources, SOURCE.limit)
            self.altered += changed
            flows = evolve(flows, sources=sources)
        return Decoded(
            self.blocks,
            self.rejects,
            self.altered,
            self.disabled,
            flows,
            self.numbers,
            self.counts,
            self.unreadable,
        )
