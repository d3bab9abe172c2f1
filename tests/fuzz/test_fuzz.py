"""The bounded part of ``make fuzz``: the same mutants, in thousands."""

from collections.abc import Callable
from random import Random, SystemRandom

import pytest
from fuzz.flood import CONFIG, Flood
from fuzz.mutate import EVENT_START, MAX_BYTES, Mutator
from fuzz.oracle import check, failure, framed, unframed
from fuzz.seeds import seeds
from sample_events import NOW, decoded_by, keep_all_decoder
from support import Daemon

SEED = 7460
MESSAGES = 3000
MESSAGES_A_BURST = 12
DATAGRAMS = 50_000
WARM = 20_000

SEEDS = seeds(NOW)


def fresh_seed() -> int:
    """Another one each time; what fails is shown with it, and as the messages that do."""
    seed = SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    return seed


@pytest.mark.parametrize("seed_of", [lambda: SEED, fresh_seed], ids=["fixed", "fresh"])
def test_mutants_become_events_or_rejects_the_same_on_every_way(seed_of: Callable[[], int]) -> None:
    mutator = Mutator(Random(seed_of()), SEEDS)
    left = MESSAGES
    while left > 0:
        burst = mutator.burst(MESSAGES_A_BURST)
        try:
            check(burst)
        except Exception:
            print(failure(burst))
            raise
        left -= len(burst)


def test_mutants_at_a_live_daemon_are_all_counted_and_memory_stays(
    dsn: str, make_daemon: Callable[..., Daemon]
) -> None:
    daemon = make_daemon(CONFIG, {"AEGISD_STORAGE__DSN": dsn})
    daemon.start()
    report = Flood(daemon, fresh_seed(), DATAGRAMS, WARM).run()
    print(report)
    assert report.counts.datagrams == DATAGRAMS
    assert report.counts.udp >= DATAGRAMS // 5
    assert daemon.stop() == 0


def test_seeds_pass_the_oracle_together_and_alone() -> None:
    check(SEEDS)
    for seed in SEEDS:
        check([seed])


def test_mutants_cover_all_kinds_and_reasons() -> None:
    """A mutator that only breaks messages would find nothing behind the first check."""
    mutator = Mutator(Random(SEED), SEEDS)
    mutants = [mutator.message() for _ in range(MESSAGES)]
    decoded = decoded_by(keep_all_decoder(10**18), mutants)
    assert {block.kind for block in decoded.blocks} == {
        "request",
        "rate_limit",
        "backend",
        "system",
    }
    assert {str(reject.reason) for reject in decoded.rejects} == {
        "malformed",
        "unknown_kind",
        "missing_field",
        "bad_type",
        "out_of_range",
        "bad_seq",
    }
    assert len({(reject.reason, reject.field) for reject in decoded.rejects}) >= 30
    assert any(EVENT_START in mutant for mutant in mutants)
    assert max(map(len, mutants)) <= MAX_BYTES


def test_same_seed_makes_the_same_mutants() -> None:
    first, second = (Mutator(Random(SEED), SEEDS).burst(200) for _ in range(2))
    assert first == second


def test_failure_is_shrunk_to_few_messages_and_can_be_replayed() -> None:
    def fails(messages: list[bytes]) -> None:
        assert b"bad" not in messages

    told = failure([b"good", b"bad", b"good"], fails)
    assert told.endswith(f" replay {b'bad'.hex()}")


def test_framed_burst_is_read_back_unchanged() -> None:
    burst = Mutator(Random(SEED), SEEDS).burst(20)
    assert unframed(framed(burst)) == burst
    assert unframed(b"\x00\x09ab") == [b"ab"]
