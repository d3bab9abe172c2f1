"""``python -m fuzz``: a live daemon is flooded, or one burst looked at again."""

import argparse
import warnings
from pathlib import Path
from random import SystemRandom

from fuzz import flood
from fuzz.oracle import check, unframed


def main() -> None:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    live = commands.add_parser("live", help="flood a live daemon with mutated datagrams")
    live.add_argument("--datagrams", type=int, default=1_000_000)
    live.add_argument("--seed", type=int, default=SystemRandom().randrange(2**32))
    replay = commands.add_parser("replay", help="decode one burst once more, on every way")
    replay.add_argument(
        "message", nargs="+", help="its hex, or the path of a file that a fuzzer left"
    )
    arguments = parser.parse_args()
    if arguments.command == "live":
        flood.run(arguments.datagrams, arguments.seed)
    else:
        warnings.simplefilter("error")
        check([data for given in arguments.message for data in _messages(given)])
        print("nothing is wrong with it")


def _messages(given: str) -> list[bytes]:
    return unframed(Path(given).read_bytes()) if "/" in given else [bytes.fromhex(given)]


if __name__ == "__main__":
    main()
