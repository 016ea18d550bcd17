"""Every seed, and some mutants of each, through its target: inputs that once broke something stay harmless."""

import gc
import random
from collections.abc import Iterator

import pytest

from tests.fuzz.judge import judge
from tests.fuzz.targets import TARGETS, seeds_of

MUTANTS = 40  # of each target, the same ones on each run; `./dev fuzz` makes others
SEEDS = [(target, name) for target in TARGETS for name in seeds_of(target)]


@pytest.mark.parametrize(("target", "name"), SEEDS, ids=[f"{target}-{name}" for target, name in SEEDS])
def test_seed_is_taken_or_refused_by_a_typed_error(target: str, name: str) -> None:
    verdict = judge(TARGETS[target].run, seeds_of(target)[name])
    assert verdict, f"{verdict.problem} at {verdict.place}"


def _mutants(target: str) -> Iterator[bytes]:
    chance = random.Random(target)
    seeds = list(seeds_of(target).values())
    for _ in range(MUTANTS):
        yield TARGETS[target].mutate(chance.choice(seeds), chance)


@pytest.mark.parametrize("target", TARGETS)
def test_mutants_are_taken_or_refused_by_a_typed_error(target: str) -> None:
    outcomes, errors = [], []
    for mutant in _mutants(target):
        verdict = judge(TARGETS[target].run, mutant)
        assert verdict, f"{verdict.problem} at {verdict.place}: {mutant.hex()}"
        outcomes.append(verdict.error is None)
        errors.append(verdict.error)
    del errors
    gc.collect()  # of what the tracebacks kept: views that are in use somewhere end Python 3.11
    assert any(outcomes), "no mutant got through: the mutations reach nothing"
    assert not all(outcomes), "every mutant got through: the mutations damage nothing"
