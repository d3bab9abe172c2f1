"""Coverage-guided fuzzing of the decoder with libFuzzer (atheris): ``python -m fuzz.guided``.

Bursts that reach new code are kept in ``.fuzz/corpus``, also for the next run, and mutated
further. Options are libFuzzer's, such as ``-max_total_time=60`` or ``-seed=1``.
"""

import sys
import tempfile
import warnings
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["aegisd.wire"]):
    from events import NOW
    from fuzz.mutate import Mutator
    from fuzz.oracle import check, failure, framed, unframed
    from fuzz.seeds import seeds

CORPUS = Path(".fuzz/corpus")
MAX_MESSAGES = 40
MAX_BURST_BYTES = 16_384
SECONDS_A_BURST = 20  # libFuzzer takes it for a finding
MEMORY_MIB = 4096  # the same; libFuzzer itself grows by a MiB a second


def run(options: list[str]) -> None:
    """Fuzz until libFuzzer's ``options`` say stop, or something is found; this never returns."""
    warnings.simplefilter("error")
    CORPUS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="aegisd-fuzz-") as directory:
        for i, data in enumerate(seeds(NOW)):
            Path(directory, str(i)).write_bytes(framed([data])[:MAX_BURST_BYTES])
        limits = [f"-max_len={MAX_BURST_BYTES}", "-len_control=0", "-artifact_prefix=.fuzz/"]
        limits += [f"-timeout={SECONDS_A_BURST}", f"-rss_limit_mb={MEMORY_MIB}"]
        arguments = [sys.argv[0], *limits, *options, str(CORPUS), directory]
        atheris.Setup(arguments, _one, custom_mutator=_mutated, custom_crossover=_crossed)
        atheris.Fuzz()


def _one(data: bytes) -> None:
    messages = unframed(data)[:MAX_MESSAGES]
    try:
        check(messages)
    except Exception:
        print(failure(messages))
        raise


def _mutated(data: bytes, max_size: int, seed: int) -> bytes:
    dice = Random(seed)
    mutator = Mutator(dice, _SEEDS)
    messages = unframed(data) or [mutator.message()]
    chosen = dice.randrange(len(messages))
    how = dice.random()
    if how < 0.5:
        messages[chosen] = mutator.mutant(messages[chosen])
    elif how < 0.7:
        messages[chosen] = atheris.Mutate(messages[chosen], len(messages[chosen]) + 64)
    elif how < 0.8:
        messages.insert(chosen, mutator.mutant(messages[chosen]))
    elif how < 0.9:
        messages.insert(chosen, mutator.message())
    else:
        del messages[chosen]
    return framed(messages)[:max_size]


def _crossed(data: bytes, other: bytes, max_size: int, seed: int) -> bytes:
    dice = Random(seed)
    messages = unframed(data) + unframed(other)
    return framed(dice.sample(messages, dice.randint(0, len(messages))))[:max_size]


_SEEDS = seeds(NOW)

if __name__ == "__main__":
    run(sys.argv[1:])
