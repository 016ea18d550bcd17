"""The campaigns by name: what each does, and for how many rounds its goal asks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from tests.campaigns import (
    adoption,
    bad_entry,
    churn,
    endurance,
    errno_operations,
    errno_pairs,
    errno_strace,
    errnos,
    hitless,
    kills,
    state_machine,
)
from tests.campaigns.figures import Figures
from tests.campaigns.interrupted import campaign as interrupted


@dataclass(frozen=True, slots=True)
class Campaign:
    """`run(directory, rounds)` returns figures and raises AssertionError where the goal is missed.

    `seeded`: it takes `seed` besides, by which another run differs.
    """

    goal: str
    rounds: int
    run: Callable[..., Figures]
    seeded: bool = False


CAMPAIGNS: Mapping[str, Campaign] = {
    **{
        f"g1-{kind}": Campaign("programs replaced under a flood: no packet lost, none without a program", 1000,
                               partial(hitless.run, kind=kind))
        for kind in hitless.KINDS
    },
    **{
        f"g2-{name}": Campaign("killed at a system call: in order within 5 s of the next start, nothing left", 1000,
                               partial(kills.run, name=name), seeded=True)
        for name in kills.ALL
    },
    "g2-random": Campaign("the same at random moments of changes", 500, kills.run_random, seeded=True),
    "g2-by-hand": Campaign("killed at a write of an operation, before a change by hand: as the files say, nothing left",
                           interrupted.ALL_PAIRS, interrupted.run, seeded=True),
    "g3": Campaign("one call fails: a typed error and nothing changed, or withstood", 20_000, errnos.run,
                   seeded=True),
    "g3-more": Campaign("the same of kinds, modes, globs, trials, load and unload", 20_000,
                        partial(errnos.run, names=tuple(errno_operations.MORE)), seeded=True),
    "g3-pairs": Campaign("one call fails, and one of those after it: all comes to order, nothing left", 500,
                         errno_pairs.run, seeded=True),
    "g3-strace": Campaign("one call fails, from outside, by strace", 60, errno_strace.run),
    "g10": Campaign("a bad entry among so many changes nothing at a reload, 18 ways", 100, bad_entry.run),
    "g7": Campaign("load, attach, replace, unload: nothing left, RSS growth at most 5 MiB", 10_000, endurance.run),
    **{
        f"g8-{kind}": Campaign("interfaces adopted after a restart without a kernel write", 200,
                               partial(adoption.run, kind=kind))
        for kind in adoption.KINDS
    },
    "g9": Campaign("interfaces deleted and made anew: attached again, p99 at most 200 ms", 1000, churn.run),
    "g9-match": Campaign("the same with an entry for several interfaces", 1000,
                         partial(churn.run, named=churn.BY_MATCH)),
    "g9-overrun": Campaign("events lost by ENOBUFS: all in order within a second", 10, churn.run_overrun),
    "g14": Campaign("random sequences of 50 steps: the kernel is as the model says", 2000, state_machine.run,
                    seeded=True),
    "idle": Campaign("what a daemon takes while nothing happens, with so many attachments", 200, adoption.run_idle),
}  # fmt: skip
