"""pinning.conf and bpf_pinning: what they mean and how each fault is told."""

import ctypes
from contextlib import suppress
from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xdploaderd.config.bpf_pinning import parse_iproute2_pinning, to_pinning_conf
from xdploaderd.config.pinning import PinningConf, parse_pinning_conf
from xdploaderd.errors import ConfigError, PinError

SHA1 = "0123456789abcdef0123456789abcdef01234567"


def _conf(text: str) -> PinningConf:
    return parse_pinning_conf(text.encode(), source="p.conf")


def _path(conf: PinningConf, pinning: int, *, legacy: bool = True, name: str = "cnt", work_dir: str = "tc") -> str:
    return str(conf.map_path(name, pinning, legacy=legacy, object_sha1=SHA1, work_dir=work_dir))


def _iproute2(text: bytes) -> dict[int, str]:
    return {s.number: str(s.path) for s in parse_iproute2_pinning(text, source="bpf_pinning").statements}


def test_defaults_are_those_of_libbpf_and_iproute2() -> None:
    conf = PinningConf()
    assert _path(conf, 1, legacy=False) == "/sys/fs/bpf/cnt"
    assert _path(conf, 1) == f"/sys/fs/bpf/tc/{SHA1}/cnt"
    assert _path(conf, 2) == "/sys/fs/bpf/tc/globals/cnt"
    assert _path(conf, 2, work_dir="xdp") == "/sys/fs/bpf/xdp/globals/cnt"
    assert conf.map_path("cnt", 0, legacy=True, object_sha1=SHA1, work_dir="tc") is None
    assert conf.map_path("cnt", 9, legacy=True, object_sha1=SHA1, work_dir="tc") is None
    assert conf.map_path("cnt", 0, legacy=False, object_sha1=SHA1, work_dir="tc") is None


def test_each_statement_moves_its_maps() -> None:
    conf = _conf(
        "# all of them\n\nroot /run/bpf/\nby-name tc/globals # shared\nobject-ns own\nglobal-ns\tall/here\n"
        "0x10 hex\n010 octal\n4294967295 last\n"
    )
    assert _path(conf, 1, legacy=False) == "/run/bpf/tc/globals/cnt"
    assert _path(conf, 1, work_dir="xdp") == f"/run/bpf/own/{SHA1}/cnt"
    assert _path(conf, 2, work_dir="xdp") == "/run/bpf/all/here/cnt"
    assert [_path(conf, n) for n in (16, 8, 4294967295)] == [f"/run/bpf/{d}/cnt" for d in ("hex", "octal", "last")]


def test_defaults_written_out_mean_the_same_for_xdp() -> None:
    conf = _conf("object-ns tc\nglobal-ns tc/globals/\n")
    assert _path(conf, 1, work_dir="xdp") == f"/sys/fs/bpf/xdp/{SHA1}/cnt"
    assert _path(conf, 2, work_dir="xdp") == "/sys/fs/bpf/xdp/globals/cnt"


def test_a_dot_as_sub_directory_is_the_root() -> None:
    assert _path(_conf("by-name .\n3 .\n"), 3) == "/sys/fs/bpf/cnt"


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", "a.b", "x\ny", "x\x1b", "x\\x1b", "n" * 256, "x\0"])
def test_map_name_that_is_no_pin_name_is_refused(name: str) -> None:
    with pytest.raises(PinError):
        _path(PinningConf(), 2, name=name)


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("3 a\n3 b\n", "2:1", "'3' is already set at p.conf:1:1"),
        ("0x3 a\n3 b\n", "2:1", "already set"),
        ("root /a\nroot /a\n", "2:1", "'root' is already set"),
        ("0 a", "1:1", "pinning value 0 is not pinned"),
        ("1 a", "1:1", "object-ns"),
        ("\t2 a", "1:2", "global-ns"),
        ("4294967296 a", "1:1", "over 4294967295"),
        ("0x" + "f" * 99 + " a", "1:1", "not a whole decimal"),
        ("9" * 5000 + " a", "1:1", "not a whole decimal"),
        ("08 a", "1:1", "not a whole decimal"),
        ("0x a", "1:1", "not a whole decimal"),
        ("3x a", "1:1", "not a whole decimal"),
        ("٣ a", "1:1", "not a whole decimal"),
        ("-1 a", "1:1", "unknown word '-1'"),
        ("3 /a", "1:3", "starts with '/'"),
        ("3 a/../b", "1:3", "contains '..'"),
        ("3 ..", "1:3", "contains '..'"),
        ("3 a/./b", "1:3", "contains '.'"),
        ("3 a//b", "1:3", "contains '//'"),
        ("3 a.b", "1:3", "contains a dot"),
        ("3 " + "a" * 256, "1:3", "256 bytes"),
        ("3 " + "a/" * 2050, "1:3", "4096 bytes"),
        ("3 a\0b", "1:4", "NUL"),
        ("3 a # c\x1b[2J", "1:8", "U+001B"),
        ("3 a\r\n", "1:4", "U+000D"),
        ("3", "1:2", "'3' wants a SUBDIR"),
        ("3 #a", "1:2", "wants a SUBDIR"),
        ("3 a b", "1:5", "'b' is one word too many"),
        ("rooot /a", "1:1", "did you mean 'root'?"),
        ("zzz a", "1:1", "want root, by-name"),
        ("root a", "1:6", "not an absolute path"),
        ("root /a/../b", "1:6", "contains '..'"),
        ("include a/../b", "1:9", "contains '..'"),
        ("include bpf_pinning", "1:20", "'bpf_pinning' wants a PATH"),
        ("include other.conf", "1:9", "cannot include"),
    ],
)
def test_fault_is_told_with_its_place(text: str, place: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _conf(text)
    assert str(caught.value).startswith(f"p.conf:{place}: ")
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()


def test_every_faulty_line_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        _conf("3\nroot a\n4 ok\nwrong\n")
    assert [line.split(": ")[0] for line in caught.value.fields["errors"] or ()] == [  # type: ignore[union-attr]
        "p.conf:1:2",
        "p.conf:2:6",
        "p.conf:4:1",
    ]


def test_bytes_that_are_no_utf_8_are_refused_with_their_place() -> None:
    with pytest.raises(ConfigError, match=r"p\.conf:2:3: byte 0xff"):
        parse_pinning_conf(b"3 a\n4 \xff\n", source="p.conf")


def test_iproute2_file_is_read_as_iproute2_reads_it() -> None:
    assert _iproute2(b"# c\n\n 3 tracing\n4\tfoo/bar # c\n5 /abs//path/ junk\n0x10 a\n010 b\n-1 c\n3tail\n") == {
        3: "tail",
        4: "foo/bar",
        5: "abs/path",
        16: "a",
        8: "b",
        4294967295: "c",
    }


def test_reserved_values_of_iproute2_file_are_ignored_with_a_warning() -> None:
    numbers = parse_iproute2_pinning(b"2 a\n3 b\n0x100000001 c\n", source="f")
    assert [s.number for s in numbers.statements] == [3]
    assert [w.split(":")[:3] for w in numbers.warnings] == [["f", "1", "1"], ["f", "3", "1"]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"3 ok\n4\n", "f:2:1: corrupt"),
        (b"x y\n", "f:1:1: corrupt"),
        (b" \r\n", "f:1:2: corrupt"),
        (b"3 a/../b\n", "'..'"),
    ],
)
def test_corrupt_iproute2_line_and_dot_dot_are_refused(text: bytes, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_iproute2_pinning(text, source="f")
    assert reason in str(caught.value)


LINES = st.one_of(
    st.binary(max_size=40),
    st.text("0123456789abcdefxX+- \t/#\x0b\r", max_size=30).map(str.encode),
    st.builds(
        "{}{}{}".format, st.integers(-(2**70), 2**70), st.sampled_from(["", " ", "\t"]), st.text("ab/", max_size=9)
    ).map(str.encode),
)


@pytest.mark.property
@example(b"0x g")
@example(b"012")
@example(b"0x1f")
@example(b"- 3 a")
@example(b"99999999999999999999999 a")
@example(b"-9223372036854775809 a")
@given(LINES.filter(lambda line: b"\n" not in line and b"\0" not in line and b".." not in line))
def test_fields_are_those_of_the_c_library(line: bytes) -> None:
    stripped = line.lstrip(b" \t")
    number, word = ctypes.c_uint32(), ctypes.create_string_buffer(64)
    fields = ctypes.CDLL(None).sscanf(stripped + b"\n", b"%i %s\n", ctypes.byref(number), word)
    if not stripped or stripped.startswith(b"#"):
        assert _iproute2(line) == {}
    elif fields != 2:
        with pytest.raises(ConfigError):
            _iproute2(line)
    elif number.value < 3:
        assert _iproute2(line) == {}
    else:
        assert set(_iproute2(line)) == {number.value}
        word_path = PurePosixPath(word.value.decode("utf-8", "surrogateescape").lstrip("/"))
        assert _iproute2(line)[number.value] == str(word_path)


@pytest.mark.property
@given(st.one_of(st.binary(max_size=200), st.text("0123 x./#\n\trootincludebyname-s", max_size=200).map(str.encode)))
def test_parsers_raise_config_error_and_nothing_else(raw: bytes) -> None:
    for parse in (parse_pinning_conf, parse_iproute2_pinning, to_pinning_conf):
        with suppress(ConfigError):
            parse(raw, source="f")


def test_converted_file_means_the_same() -> None:
    raw = b"5 tc/cls1 x\n0x10 foo//bar/\n3 a\n3 b\n2 no\n7 a.b\n8 \xff\n"
    text = to_pinning_conf(raw, source="bpf_pinning")
    assert parse_pinning_conf(text.encode(), source="new").subdirs == {
        3: PurePosixPath("b"),
        5: PurePosixPath("tc/cls1"),
        16: PurePosixPath("foo/bar"),
    }
    assert "# not taken over: 7 'a.b'" in text
    assert "reserved" in text


def test_more_lines_than_are_read_are_refused_in_either_syntax() -> None:
    for parse in (parse_pinning_conf, parse_iproute2_pinning):
        with pytest.raises(ConfigError, match="f:10001:1: one of 10002 lines, want at most 10000"):
            parse(b"\n" * 10_001, source="f")
