"""Every test must close its descriptors; kernel and oracle tests run in a sandbox and must leave no BPF object."""

import gc
import os
import signal
from collections.abc import Generator, Iterator

import pytest

from tests.support import sandbox
from tests.support.old_kernel import MAY_LACK_FEATURES, skip_if_lacking
from xdploaderd.errors import FeatureMissingError


def _open_fds() -> dict[str, str]:
    fds = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            fds[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
    return fds


def _opened_since(before: dict[str, str]) -> dict[str, str]:
    return {fd: name for fd, name in _open_fds().items() if before.get(fd) != name}


def pytest_collection_finish() -> None:
    if MAY_LACK_FEATURES:  # in a guest: what importing left lives as long as the run, and to walk it takes a second
        gc.freeze()


def pytest_sessionstart() -> None:
    # A shell starts what it puts in the background with SIGINT ignored, and programs under test would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    try:
        return (yield)
    except FeatureMissingError as error:
        skip_if_lacking(error)
        raise


@pytest.fixture(autouse=True)
def sandboxed(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Hold the lock, and be in the sandbox, for a test that makes BPF objects; tell whether it is one."""
    if not any(request.node.iter_markers("kernel")) and not any(request.node.iter_markers("oracle")):
        yield False
        return
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with sandbox.kernel_lock():
        sandbox.enter_sandbox()
        yield True


@pytest.fixture(autouse=True)
def _no_fd_leak(sandboxed: bool) -> Iterator[None]:
    """After `sandboxed`, which in a chroot gives every descriptor another name."""
    before = _open_fds()
    yield
    if _opened_since(before):
        gc.collect()  # only now: with every library imported a collection takes longer than a unit test
    leaked = _opened_since(before)
    assert not leaked, f"descriptors left open: {leaked}"


@pytest.fixture(autouse=True)
def _no_kernel_leak(sandboxed: bool) -> Iterator[None]:
    if not sandboxed:
        yield
        return
    before, pins = sandbox.object_ids(), sandbox.pin_tree()
    yield
    gc.collect()
    left = sandbox.wait_until_freed(before)
    assert not any(left.values()), f"BPF objects left behind: {left}"
    assert sandbox.pin_tree() == pins, f"pins left behind: {sorted(sandbox.pin_tree() - pins)}"
