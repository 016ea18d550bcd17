"""Run campaigns one after the other, print a line of figures for each; exit status 1 when a goal is missed."""

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.campaigns.figures import in_words
from tests.support.sandbox import enter_sandbox, pin_tree
from tools.arguments import count
from tools.ending import end_with
from tools.faults.campaigns import CAMPAIGNS, Campaign


def main(argv: Sequence[str]) -> int:
    """Run what is named, or all."""
    parser = argparse.ArgumentParser(prog="./dev faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="campaigns to run, by how their names begin (all)")
    parser.add_argument("--list", action="store_true", help="tell what campaigns there are")
    parser.add_argument("--rounds", type=count, help="instead of as many as the goal asks for")
    parser.add_argument("--seed", type=int, help="of what is random, so that another run tries other things")
    args = parser.parse_args(argv)
    chosen = dict(_chosen(args.names))
    if unknown := [name for name in args.names if not any(c.startswith(name) for c in CAMPAIGNS)]:
        parser.error(f"no campaign {', '.join(unknown)}; there are {', '.join(CAMPAIGNS)}")
    if args.list:
        print(*(f"{name:16} {c.goal} ({c.rounds:,} rounds)" for name, c in chosen.items()), sep="\n")
        return 0
    enter_sandbox()
    kept = pin_tree()
    missed = [name for name, campaign in chosen.items() if not _run(name, campaign, args.rounds, args.seed)]
    left = sorted(pin_tree() - kept)
    if left:
        print(f"LEFT BEHIND: {', '.join(left)}")
    return 1 if missed or left else 0


def _chosen(names: Sequence[str]) -> Iterator[tuple[str, Campaign]]:
    for name, campaign in CAMPAIGNS.items():
        if not names or any(name == word or (word not in CAMPAIGNS and name.startswith(word)) for word in names):
            yield name, campaign


def _run(name: str, campaign: Campaign, rounds: int | None, seed: int | None) -> bool:
    began = time.monotonic()
    seeded = {"seed": seed} if campaign.seeded and seed is not None else {}
    with tempfile.TemporaryDirectory(prefix="xdploaderd-faults-") as directory:
        try:
            figures = campaign.run(Path(directory), rounds or campaign.rounds, **seeded)
        except AssertionError:
            print(f"{name}: MISSED\n{traceback.format_exc()}", flush=True)
            return False
    print(f"{name}: {in_words(figures)} ({time.monotonic() - began:.0f} s)", flush=True)
    return True


if __name__ == "__main__":
    end_with(lambda: main(sys.argv[1:]))
