"""The judge finds what it is to find: a fuzzer that lets all pass would be green for ever."""

import time
from collections.abc import Callable
from unittest import mock

import pytest

from tests.fuzz import judge as module
from tests.fuzz.judge import judge
from xdploaderd.errors import LoaderError


def _raise(error: Exception) -> Callable[[bytes], object]:
    def run(_raw: bytes) -> None:
        raise error

    return run


def _burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_value_and_typed_error_are_right() -> None:
    assert judge(len, b"abc")
    verdict = judge(_raise(LoaderError("no")), b"")
    assert verdict
    assert str(verdict.error) == "no"


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (KeyError("x"), "KeyError"),
        (RecursionError(), "RecursionError"),
        (MemoryError(), "MemoryError"),
        (LoaderError("two\nlines"), "Message: has unprintable"),
        (LoaderError("x" * 20_000), "Message: has 20000 characters"),
    ],
)
def test_other_error_and_unfit_message_are_findings(error: Exception, problem: str) -> None:
    verdict = judge(_raise(error), b"")
    assert not verdict
    assert verdict.problem.startswith(problem)


def test_what_takes_long_is_a_finding_and_what_does_not_end_is_ended() -> None:
    with mock.patch.object(module, "MAX_SECONDS", 0.02), mock.patch.object(module, "_GIVE_UP_SECONDS", 0.1):
        assert judge(lambda _raw: _burn(0.04), b"").problem.startswith("Slow")
        assert judge(lambda _raw: _burn(60), b"").problem.startswith("GivenUp")


def test_memory_that_was_given_back_is_a_finding_too() -> None:
    with mock.patch.object(module, "MAX_BYTES", 8 << 20):
        verdict = judge(lambda _raw: len(bytes(32 << 20).upper()), b"")
    assert verdict.problem.startswith("Memory")
