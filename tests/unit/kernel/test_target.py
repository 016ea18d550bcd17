"""The running kernel's BTFs: modules are listed when somebody looks behind vmlinux."""

from tests.builders.btf import S32, U32, btf_of, split_btf, struct
from xdploaderd.btf.codec import Btf
from xdploaderd.kernel.target import KernelBtfs
from xdploaderd.relo_core.match import find_candidates

VMLINUX = btf_of(S32, struct("here", 4))


class Listing:
    """Modules, and how often they were listed."""

    def __init__(self) -> None:
        self.times = 0
        self.modules = (split_btf(VMLINUX, struct("there", 4)), split_btf(VMLINUX, U32))

    def __call__(self) -> tuple[Btf, ...]:
        self.times += 1
        return self.modules


def test_modules_are_not_listed_for_what_vmlinux_has() -> None:
    listing = Listing()
    btfs = KernelBtfs(VMLINUX, listing)
    assert btfs
    assert find_candidates(btf_of(struct("here", 8)), 1, btfs)[0].btf is VMLINUX
    assert next(iter(btfs)) is VMLINUX
    assert listing.times == 0


def test_modules_are_listed_once_for_what_vmlinux_has_not() -> None:
    listing = Listing()
    btfs = KernelBtfs(VMLINUX, listing)
    for _ in range(2):
        assert find_candidates(btf_of(struct("there", 8)), 1, btfs)[0].btf is listing.modules[0]
    assert tuple(btfs) == (VMLINUX, *listing.modules)
    assert (len(btfs), btfs[-1]) == (3, listing.modules[1])
    assert listing.times == 1
