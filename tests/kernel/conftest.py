"""What most kernel tests start from: a pair of interfaces, and a daemon that has not been started."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.campaigns.machine.core import Clock, Core
from tests.support.changing_object import COUNT
from tests.support.daemon import BPFFS, Daemon, daemon_in
from tests.support.netns import Veth, add_veth, two_veth_pairs, veth_pair
from tests.support.sandbox import clear_pins


@pytest.fixture
def veth() -> Iterator[Veth]:
    with veth_pair() as pair:
        yield pair


@pytest.fixture
def veths() -> Iterator[Veth]:
    """Yield the same pair as `veth`; veth8 and its peer are there too."""
    with two_veth_pairs() as pair:
        yield pair


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with daemon_in(tmp_path) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def core(veth: Veth, tmp_path: Path, clock: Clock) -> Iterator[Core]:
    """Yield a daemon in this process that has not been started; it ends with the test, and its pins go then."""
    with closing(Core(tmp_path, clock)) as made:
        try:
            yield made
        finally:
            made.end()
            clear_pins()


@pytest.fixture
def conf(tmp_path: Path) -> str:
    """Return an empty pinning.conf: the defaults, whatever this machine has."""
    path = tmp_path / "pinning.conf"
    path.write_text("")
    path.chmod(0o644)
    return str(path)


@pytest.fixture
def pins_go(_no_kernel_leak: None) -> Iterator[None]:
    """Remove what the test pinned, before it is looked for leaks."""
    before = set(os.listdir(BPFFS))
    yield
    for name in set(os.listdir(BPFFS)) - before:
        path = BPFFS / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def object_copy(tmp_path: Path) -> Path:
    """Return a copy of an object, for the test to change."""
    made = tmp_path / "count.o"
    shutil.copy(COUNT, made)
    return made


@pytest.fixture
def second(veth: Veth) -> Iterator[Callable[[], Veth]]:
    """Yield what adds another interface beside `veth`."""
    yield lambda: _added(veth)
    subprocess.run(["ip", "link", "del", "veth1"], check=False, capture_output=True)


def _added(veth: Veth) -> Veth:
    add_veth("veth1", "peer1", veth.namespace)
    return Veth("veth1", "peer1", veth.namespace)
