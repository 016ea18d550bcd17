"""Values of .kconfig externs: every kind of value, every way to be wrong."""

import sys
from dataclasses import replace

import pytest

from tests.builders.spec import btf_of, target_kernel
from xdploaderd.btf.types import Array, BtfKind, BtfType, Composite, Enum, Int, IntEncoding, Ref
from xdploaderd.errors import LoaderError, RelocationError
from xdploaderd.obj.kconfig import KconfigValues, find_value_type, kconfig_values
from xdploaderd.obj.spec import ExternKind, ExternSpec, TargetKernel
from xdploaderd.uapi.bpf import Feature

BOOL, CHAR, SCHAR, S16, U32, S64, TRISTATE, STRING, U64 = range(1, 10)
TYPES: tuple[BtfType, ...] = (
    Int("_Bool", 1, IntEncoding.BOOL, 0, 8),
    Int("char", 1, 0, 0, 8),
    Int("signed char", 1, IntEncoding.SIGNED, 0, 8),
    Int("short", 2, IntEncoding.SIGNED, 0, 16),
    Int("unsigned int", 4, 0, 0, 32),
    Int("long", 8, IntEncoding.SIGNED, 0, 64),
    Enum(BtfKind.ENUM, "libbpf_tristate", 4, False, (("TRI_NO", 0), ("TRI_YES", 1), ("TRI_MODULE", 2))),
    Array(CHAR, U32, 8),
    Int("unsigned long", 8, 0, 0, 64),
)
SIZES = dict(zip(range(1, 10), (1, 1, 1, 2, 4, 8, 4, 8, 8), strict=True))
OTHER = len(TYPES) + 1


def values(
    type_id: int, text: str | None, *, name: str = "CONFIG_X", weak: bool = False, target: TargetKernel | None = None
) -> KconfigValues:
    """Return what the extern gets from the line NAME=text; None: from a configuration without it."""
    size = SIZES[type_id]
    extern = ExternSpec(name=name, kind=ExternKind.KCONFIG, type_id=type_id, weak=weak, offset=0, size=size)
    kconfig = "# CONFIG_X is not set\n" if text is None else f"CONFIG_A=1\n{name}={text}\nCONFIG_X=y\n"
    return kconfig_values([extern], btf_of(*TYPES), target or target_kernel(kconfig=kconfig), size)


def error_of(found: KconfigValues) -> LoaderError:
    (error,) = found.errors.values()
    assert isinstance(error, RelocationError)
    return error


@pytest.mark.parametrize(
    ("type_id", "text", "value"),
    [
        (BOOL, "y", 1),
        (BOOL, "n", 0),
        (TRISTATE, "n", 0),
        (TRISTATE, "y", 1),
        (TRISTATE, "m", 2),
        (CHAR, "m", ord("m")),
        (CHAR, "255", 255),
        (SCHAR, "-128", 128),
        (S16, "-32768", 0x8000),
        (S16, "0x7fff", 0x7FFF),
        (U32, "0x10", 16),
        (BOOL, "1", 1),
        (U32, "010", 8),
        (U32, "0", 0),
        (U32, "4294967295", 0xFFFFFFFF),
        (S64, "-1", (1 << 64) - 1),
        (S64, "0xffffffffffffffff", (1 << 64) - 1),
        (U64, "-1", (1 << 64) - 1),
    ],
)
def test_value_is_written_in_its_type(type_id: int, text: str, value: int) -> None:
    found = values(type_id, text)
    assert not found.errors
    assert int.from_bytes(found.contents, sys.byteorder) == value


@pytest.mark.parametrize(
    ("type_id", "text", "reason"),
    [
        (BOOL, "m", "value m does not fit type bool"),
        (BOOL, "2", "value 2 does not fit type bool"),
        (U32, "y", "value y does not fit type integer"),
        (TRISTATE, "1", "value 1 does not fit type enum libbpf_tristate"),
        (STRING, "y", "value y does not fit type array of char"),
        (U32, '"text"', "want an array of char"),
        (STRING, '"text', "has no closing quote"),
        (STRING, '"', "has no closing quote"),
        (U32, "12junk", "is not y, n, m, a quoted text or an integer"),
        (U32, "0x", "is not y, n, m"),
        (U32, "08", "is not y, n, m"),
        (U32, "1_000", "is not y, n, m"),
        (CHAR, "256", "is out of range, want 0 to 255"),
        (SCHAR, "128", "is out of range, want -128 to 127"),
        (S16, "32768", "is out of range, want -32768 to 32767"),
        (U32, "4294967296", "is out of range"),
        (U32, "-1", "is out of range"),
        (U64, "18446744073709551616", "is over 64 bits"),
        (U64, "9" * 5000, "is over 64 bits"),
    ],
)
def test_value_that_does_not_fit_is_refused(type_id: int, text: str, reason: str) -> None:
    error = error_of(values(type_id, text))
    assert error.place == ("extern 'CONFIG_X'",)
    assert reason in error.message


def test_text_is_written_with_its_nul() -> None:
    assert values(STRING, '"-deb"').contents == b"-deb\0\0\0\0"


def test_text_too_long_is_cut_with_a_warning() -> None:
    found = values(STRING, '"-custom-2"')
    assert found.contents == b"-custom\0"
    assert found.warnings == ("extern 'CONFIG_X': text is cut to 7 of 9 bytes",)


def test_first_setting_wins() -> None:
    assert values(BOOL, "n").contents == b"\0"


def test_strong_extern_that_is_not_set_is_refused() -> None:
    assert "is not set in the kernel's configuration" in error_of(values(U32, None)).message


def test_weak_extern_that_is_not_set_is_zero() -> None:
    found = values(U32, None, weak=True)
    assert (found.contents, found.errors) == (bytes(4), {})


def test_unreadable_configuration_is_refused_even_for_weak_externs() -> None:
    found = values(U32, None, weak=True, target=target_kernel())
    assert "kernel configuration cannot be read" in error_of(found).message


def test_setting_without_value_is_refused_with_its_line() -> None:
    with pytest.raises(RelocationError, match="kernel configuration line 2: 'CONFIG_X' has no value"):
        values(U32, "")


def test_kernel_version_comes_from_the_target() -> None:
    found = values(U32, None, name="LINUX_KERNEL_VERSION", target=target_kernel())
    assert int.from_bytes(found.contents, sys.byteorder) == 6 << 16 | 18 << 8 | 44


@pytest.mark.parametrize("name", ["LINUX_HAS_BPF_COOKIE", "LINUX_HAS_SYSCALL_WRAPPER"])
def test_virtual_values_follow_the_features(name: str) -> None:
    assert int.from_bytes(values(U32, None, name=name).contents, sys.byteorder) == 1
    old = replace(target_kernel(), features=frozenset[Feature]())
    assert int.from_bytes(values(U32, None, name=name, target=old).contents, sys.byteorder) == 0


def test_unknown_virtual_value_is_zero_when_weak_and_refused_when_strong() -> None:
    assert values(U32, None, name="LINUX_NEW", weak=True).contents == bytes(4)
    assert "is unknown" in error_of(values(U32, None, name="LINUX_NEW")).message
    assert "is unknown" in error_of(values(U32, None, name="OTHER", weak=True)).message


@pytest.mark.parametrize(
    "other",
    [
        Composite(BtfKind.STRUCT, "s", 4, ()),
        Enum(BtfKind.ENUM, "other", 4, False, ()),
        Array(CHAR, U32, 0),
        Array(U32, U32, 4),
        Array(OTHER, U32, 4),
        Int("__int128", 16, 0, 0, 128),
        Int("wide_bool", 4, IntEncoding.BOOL, 0, 32),
        Ref(BtfKind.PTR, "", 0),
    ],
)
def test_type_that_no_setting_fits_is_refused(other: BtfType) -> None:
    btf = btf_of(*TYPES, other)
    assert find_value_type(btf, OTHER) is None
    extern = ExternSpec(name="CONFIG_X", kind=ExternKind.KCONFIG, type_id=OTHER, weak=False, size=4)
    found = kconfig_values([extern], btf, target_kernel(kconfig="CONFIG_X=y"), 4)
    assert "type is not one of a configuration value" in error_of(found).message


def test_values_lie_at_their_offsets() -> None:
    externs = [
        ExternSpec(name="CONFIG_A", kind=ExternKind.KCONFIG, type_id=U32, weak=False, offset=0, size=4),
        ExternSpec(name="CONFIG_B", kind=ExternKind.KCONFIG, type_id=BOOL, weak=False, offset=6, size=1),
    ]
    target = target_kernel(kconfig="CONFIG_A=1\nCONFIG_B=y")
    wanted = (1).to_bytes(4, sys.byteorder) + b"\0\0\1\0"
    assert kconfig_values(externs, btf_of(*TYPES), target, 8).contents == wanted
