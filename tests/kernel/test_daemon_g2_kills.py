"""G2: a daemon killed at some of the system calls of each operation; `./dev faults g2` kills it at every one."""

from pathlib import Path

import pytest

from tests.campaigns import kills

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("name", kills.ALL)
def test_g2_killed_at_a_call_of_an_operation_is_made_whole_by_the_next_start(tmp_path: Path, name: str) -> None:
    assert kills.run(tmp_path, 3, name=name, timed_every=0)["kills"]


def test_g2_killed_at_random_moments_is_made_whole(tmp_path: Path) -> None:
    assert kills.run_random(tmp_path, 3, timed_every=0)["kills"] == 3
