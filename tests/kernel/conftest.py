"""What most kernel tests start from: a pair of interfaces, and a daemon that has not been started."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, daemon_in
from tests.support.netns import Veth, veth_pair


@pytest.fixture
def veth() -> Iterator[Veth]:
    with veth_pair() as pair:
        yield pair


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with daemon_in(tmp_path) as made:
        yield made
