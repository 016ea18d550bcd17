"""explain-pin and convert-pinning: the paths they print, and that they only read."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xdploaderd.cli import pins
from xdploaderd.cli.main import main
from xdploaderd.cli.objects import parse_types
from xdploaderd.config.pinning import parse_pinning_conf
from xdploaderd.errors import UsageError
from xdploaderd.uapi.bpf import ProgType

Capture = pytest.CaptureFixture[str]
OBJECTS = Path(__file__).parents[2] / "bpf"


@pytest.fixture
def no_iproute2_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "bpf_pinning"
    monkeypatch.setattr(pins, "BPF_PINNING", path)
    return path


def _conf(tmp_path: Path, text: str) -> str:
    path = tmp_path / "pinning.conf"
    path.write_text(text)
    path.chmod(0o644)
    return str(path)


def _explain(capsys: Capture, name: str, *argv: str) -> Any:
    assert main(["explain-pin", str(OBJECTS / name), "--json", *argv]) == 0
    return json.loads(capsys.readouterr().out)


def test_by_name_map_goes_elsewhere_under_each_loader(no_iproute2_file: Path, tmp_path: Path, capsys: Capture) -> None:
    conf = _conf(tmp_path, "root /run/bpf\nby-name shared\n")
    explained = _explain(capsys, "demo_xdp.bpf.o", "--pinning", conf)
    assert explained["dialect"] == "standard"
    assert explained["maps"][0] == {
        "name": "demo_xdp_count",
        "pinning": 1,
        "rule": "btf",
        "here": "/run/bpf/shared/demo_xdp_count",
        "libbpf": "/sys/fs/bpf/demo_xdp_count",
        "iproute2": "/sys/fs/bpf/tc/globals/demo_xdp_count",
    }
    assert {row["here"] for row in explained["maps"][1:]} == {"not pinned"}


def test_legacy_object_is_refused_by_libbpf_only(no_iproute2_file: Path, tmp_path: Path, capsys: Capture) -> None:
    explained = _explain(capsys, "legacy_pin1.bpf.o", "--pinning", _conf(tmp_path, "object-ns own\n"))
    (row,) = explained["maps"]
    sha1 = subprocess.run(["sha1sum", OBJECTS / "legacy_pin1.bpf.o"], capture_output=True, check=True).stdout[:40]
    assert row["here"] == f"/sys/fs/bpf/own/{sha1.decode()}/cnt"
    assert row["iproute2"] == f"/sys/fs/bpf/tc/{sha1.decode()}/cnt"
    assert row["libbpf"] == "refused: legacy object"


def test_other_pinning_values_follow_each_loaders_own_file(
    no_iproute2_file: Path, tmp_path: Path, capsys: Capture
) -> None:
    no_iproute2_file.write_text("9 theirs junk\n")
    no_iproute2_file.chmod(0o644)
    (row,) = _explain(capsys, "legacy_pin9.bpf.o", "--pinning", _conf(tmp_path, "9 ours/deep\n"))["maps"]
    assert (row["here"], row["iproute2"]) == ("/sys/fs/bpf/ours/deep/cnt", "/sys/fs/bpf/theirs/cnt")
    (row,) = _explain(capsys, "legacy_pin9.bpf.o", "--pinning", _conf(tmp_path, ""))["maps"]
    assert row["here"] == "not pinned"


def test_xdp_pins_of_legacy_objects_go_below_a_real_xdp_directory(
    no_iproute2_file: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "pins" / "xdp").mkdir(parents=True)
    conf = _conf(tmp_path, f"root {tmp_path}/pins\n")
    for prog_type, directory in [("xdp", "xdp/globals"), ("tc", "tc/globals")]:
        (row,) = _explain(capsys, "legacy_pin2.bpf.o", "--pinning", conf, "--type", prog_type)["maps"]
        assert row["here"] == f"{tmp_path}/pins/{directory}/cnt"


def test_by_name_map_of_a_legacy_object_is_no_object_ns_map(
    no_iproute2_file: Path, tmp_path: Path, capsys: Capture
) -> None:
    rows = {row["name"]: row["here"] for row in _explain(capsys, "legacy_and_btf.bpf.o")["maps"]}
    assert rows == {"old_map": "/sys/fs/bpf/tc/globals/old_map", "new_map": "not pinned"}


def test_text_form_has_one_line_for_each_map(no_iproute2_file: Path, capsys: Capture) -> None:
    assert main(["explain-pin", str(OBJECTS / "legacy_pin2.bpf.o")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[0]
        == "object legacy_pin2: legacy, section 'maps' holds map definitions; read as struct bpf_elf_map (iproute2)"
    )
    assert lines[-1].split()[:4] == ["cnt", "2", "bpf_elf_map", "/sys/fs/bpf/tc/globals/cnt"]


@pytest.mark.parametrize("command", [["explain-pin", "legacy_pin2.bpf.o"], ["explain-pin", "demo_xdp.bpf.o", "--json"]])
def test_explain_pin_makes_no_bpf_call(command: list[str], tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    tracer = ["strace", "-f", "-qq", "-e", "trace=bpf", "-o", str(trace)]
    argv = [sys.executable, "-m", "xdploaderd.cli.main", command[0], str(OBJECTS / command[1]), *command[2:]]
    subprocess.run([*tracer, *argv], check=True, capture_output=True)
    assert trace.read_text() == ""


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", 65), (b"text", 65), (b"\x7fELF", 65), (None, 66)],
)
def test_file_that_is_no_object_is_one_line_and_a_status(
    content: bytes | None, status: int, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "a.o"
    if content is not None:
        path.write_bytes(content)
    assert main(["explain-pin", str(path)]) == status
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_what_is_no_regular_file_is_refused_at_once(kind: str, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "a.o"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert main(["explain-pin", str(path)]) == 66
    assert capsys.readouterr().err.startswith("xdploaderctl: FileUnreadable: ")


def test_convert_pinning_prints_a_strict_file(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "bpf_pinning"
    path.write_bytes(b"0x10 foo/bar # c\n3 a\n3 b junk\n1 reserved\n")
    path.chmod(0o644)
    assert main(["convert-pinning", str(path)]) == 0
    out = capsys.readouterr().out
    conf = parse_pinning_conf(out.encode(), source="new")
    assert {number: str(subdir) for number, subdir in conf.subdirs.items()} == {3: "b", 16: "foo/bar"}
    assert main(["convert-pinning", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["numbers"] == {"16": "foo/bar", "3": "b"}


def test_convert_pinning_refuses_a_corrupt_file_with_the_place(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "bpf_pinning"
    path.write_bytes(b"3 a\nnonsense\n")
    path.chmod(0o644)
    assert main(["convert-pinning", str(path)]) == 78
    assert f"InvalidConfig: {path}:2:1: corrupt" in capsys.readouterr().err


def test_types_are_given_for_all_or_for_one_program() -> None:
    types = parse_types(["xdp", "a=tc", "b=BPF_PROG_TYPE_KPROBE", "c=sched_act"])
    assert types == {"": ProgType.XDP, "a": ProgType.SCHED_CLS, "b": ProgType.KPROBE, "c": ProgType.SCHED_ACT}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["xpd"], "did you mean 'xdp'"),
        (["a=tc", "a=xdp"], "given twice"),
        (["xdp", "tc"], "given twice"),
        ([""], "want"),
    ],
)
def test_wrong_type_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_types(words)


@pytest.mark.parametrize(
    ("word", "code", "reason"),
    [
        ("programs=0", "LimitExceeded", "at most 0 are loaded (limit programs)"),
        ("file_size=100", "LimitExceeded", "at most 100 are read (limit file_size)"),
        ("program=1", "Usage", "there is no limit 'program', want one of file_size, "),
        ("programs=x", "Usage", "--limit 'programs': 'x' is no whole number"),
        ("programs=1099511627777", "Usage", "want a number from 0 to 1099511627776"),
    ],
)
def test_limit_of_the_command_line_is_kept(word: str, code: str, reason: str, capsys: Capture) -> None:
    for argv in (["explain-pin"], ["load", "--limit", "maps=9"]):
        directory = ["/nowhere"] if argv[0] == "load" else []
        assert main([*argv, str(OBJECTS / "std_maps.bpf.o"), *directory, "--limit", word, "--json"]) > 0
        error = json.loads(capsys.readouterr().err)
        assert error["code"] == code
        assert reason in error["message"]
