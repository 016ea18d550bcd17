"""A call in a process of its own, which may crash."""

import os
import signal

import pytest

from tools.apart import CrashedError, apart


def test_answer_of_a_call_comes_back_from_another_process() -> None:
    pid, squares = apart(lambda: (os.getpid(), {n: n * n for n in range(3)}))
    assert pid != os.getpid()
    assert squares == {0: 0, 1: 1, 2: 4}


def test_call_that_crashes_is_told_by_its_signal() -> None:
    with pytest.raises(CrashedError, match=f"ended by status -{signal.SIGKILL.value}"):
        apart(lambda: os.kill(os.getpid(), signal.SIGKILL))
