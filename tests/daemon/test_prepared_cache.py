"""PreparedCache: the same object for the same question, another one for any other, and never too many."""

from dataclasses import fields, replace
from pathlib import PurePosixPath
from typing import Any

import pytest

from tests.builders.elf import RETURN_0, object_of, program
from tests.builders.spec import target_kernel
from tests.support.loading import OBJECTS
from xdploaderd.config.attachments import AttachmentConfig, AttachmentName
from xdploaderd.daemon.wanted.prepared_cache import PreparedCache
from xdploaderd.errors import LimitError, LoaderError
from xdploaderd.hooks import Hook
from xdploaderd.limits import Limits
from xdploaderd.obj.spec import Need, TargetKernel

SMALL = object_of(program("main")).build()
LONGER = object_of(program("main", insns=RETURN_0 * 2)).build()
ENTRY = AttachmentConfig(
    name=AttachmentName("a"), interface="eth0", hook=Hook.XDP, object=PurePosixPath("/o/fw.o"), program="main"
)

# An object and what of an entry decides how it is prepared.
DECIDING: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("xdp_pass", {"program": "xdp_pass"}, {"object": PurePosixPath("/o/other.o")}),
    ("std_calls", {"program": "calls_first"}, {"program": "calls_second"}),
    ("std_untyped", {"program": "untyped"}, {"hook": Hook.TC_INGRESS}),
    ("std_globals", {"program": "globals"}, {"globals": (("limit", "99"),)}),
    ("xdp_count", {"program": "xdp_count"}, {"max_entries": (("xdp_frames", 4),)}),
    ("xdp_count", {"program": "xdp_count"}, {"share": (("xdp_frames", "frames"),)}),
    ("xdp_count", {"program": "xdp_count"}, {"no_maps": ("xdp_frames",)}),
)
WITHOUT_A_PART = {
    "map_init",
    "on_mismatch",
    "keep_maps",
    "name",
    "interface",
    "match",
    "mode",
    "modes",
    "attach",
    "order",
    "allow_gap",
    "priority",
    "handle",
    "protocol",
    "classid",
    "force",
    "on_foreign",
    "maps",
}


class Kernels:
    """The target, which a test may change."""

    def __init__(self) -> None:
        self.kernel = target_kernel()

    def __call__(self, needs: frozenset[Need]) -> TargetKernel:
        return self.kernel


@pytest.fixture
def kernels() -> Kernels:
    return Kernels()


@pytest.fixture
def cache(kernels: Kernels) -> PreparedCache:
    return PreparedCache(kernels)


def test_same_object_is_prepared_once(cache: PreparedCache) -> None:
    other = replace(ENTRY, name=AttachmentName("b"), interface="eth1", force=True)
    assert cache.prepare(ENTRY, SMALL) is cache.prepare(other, bytes(bytearray(SMALL)))


def test_other_bytes_are_prepared_anew_and_the_old_ones_are_still_known(cache: PreparedCache) -> None:
    first = cache.prepare(ENTRY, SMALL)
    assert cache.prepare(ENTRY, LONGER).programs["main"].insns == RETURN_0 * 2
    assert cache.prepare(ENTRY, SMALL) is first


@pytest.mark.parametrize(("name", "asked", "change"), DECIDING, ids=[case[0] for case in DECIDING])
def test_what_decides_about_the_object_is_part_of_the_question(
    cache: PreparedCache, name: str, asked: dict[str, Any], change: dict[str, Any]
) -> None:
    raw, entry = (OBJECTS / f"{name}.bpf.o").read_bytes(), replace(ENTRY, **asked)
    first, second = cache.prepare(entry, raw), cache.prepare(replace(entry, **change), raw)
    assert first is not second
    assert "object" in change or (first.maps, first.programs) != (second.maps, second.programs)


def test_of_every_field_it_is_known_whether_it_decides() -> None:
    deciding = {field for _, _, change in DECIDING for field in change}
    assert {field.name for field in fields(AttachmentConfig)} == deciding | WITHOUT_A_PART


def test_another_kernel_makes_the_object_be_prepared_anew(cache: PreparedCache, kernels: Kernels) -> None:
    first = cache.prepare(ENTRY, SMALL)
    kernels.kernel = target_kernel()
    second = cache.prepare(ENTRY, SMALL)
    assert second is not first
    assert second.target is kernels.kernel
    assert cache.prepare(ENTRY, SMALL) is second


def test_limits_of_a_new_configuration_hold_for_what_was_prepared_before(cache: PreparedCache) -> None:
    first = cache.prepare(ENTRY, SMALL)
    with pytest.raises(LimitError, match="limit programs"):
        cache.prepare(ENTRY, SMALL, Limits(programs=0))
    assert cache.prepare(ENTRY, SMALL) is first


def test_refused_object_is_refused_again(cache: PreparedCache) -> None:
    for _ in range(2):
        with pytest.raises(LoaderError, match="absent"):
            cache.prepare(replace(ENTRY, program="absent"), SMALL)


def test_object_used_longest_ago_goes_first(kernels: Kernels) -> None:
    cache = PreparedCache(kernels, max_objects=2)
    entries = [replace(ENTRY, object=PurePosixPath(f"/o/{name}.o")) for name in "abc"]
    first, second = (cache.prepare(entry, SMALL) for entry in entries[:2])
    assert cache.prepare(entries[0], SMALL) is first
    cache.prepare(entries[2], SMALL)
    assert cache.prepare(entries[0], SMALL) is first
    assert cache.prepare(entries[1], SMALL) is not second


def test_files_of_more_bytes_than_allowed_are_not_kept(kernels: Kernels) -> None:
    cache = PreparedCache(kernels, max_bytes=len(SMALL) * 2 - 1)
    first = cache.prepare(ENTRY, SMALL)
    assert cache.prepare(ENTRY, SMALL) is first
    cache.prepare(replace(ENTRY, object=PurePosixPath("/o/b.o")), SMALL)
    assert cache.prepare(ENTRY, SMALL) is not first
    tiny = PreparedCache(kernels, max_bytes=len(SMALL) - 1)
    assert tiny.prepare(ENTRY, SMALL) is not tiny.prepare(ENTRY, SMALL)
