"""convert: the text it prints, the changes it tells, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders.elf import program
from tests.builders.legacy import maps_of, record, written
from xdploaderd.cli.main import main
from xdploaderd.obj.c_maps import map_definition
from xdploaderd.obj.spec import MapSpec
from xdploaderd.uapi.bpf import MapType

Capture = pytest.CaptureFixture[str]
OBJECTS = Path(__file__).parents[2] / "bpf"


def converted(capsys: Capture, path: Path, *argv: str) -> Any:
    assert main(["convert", str(path), "--json", *argv]) == 0
    return json.loads(capsys.readouterr().out)


def test_text_is_c_with_the_changes_as_a_comment(capsys: Capture) -> None:
    assert main(["convert", str(OBJECTS / "legacy_tail_pinned.bpf.o"), "--type", "tc"]) == 0
    text = capsys.readouterr().out
    assert text.count("/*") == text.count("*/") == 2
    assert "int tail_entry(struct __sk_buff *skb);" in text
    assert "\t\t[0] = (void *)&tail_entry," in text
    assert " * - map 'jmp': tail-call sections of id 0xabc become slots of `values`" in text
    assert """ * - program 'tail_entry': section "0xabc/0" becomes SEC("tc")""" in text


def test_configured_directories_are_told(capsys: Capture, tmp_path: Path) -> None:
    conf = tmp_path / "pinning.conf"
    conf.write_text("9 mine/deep\n")
    conf.chmod(0o644)
    found = converted(capsys, OBJECTS / "legacy_pin9.bpf.o", "--pinning", str(conf))
    assert found["maps"][0]["pin"] == "/sys/fs/bpf/mine/deep/cnt"
    assert (
        "map 'cnt': pinning value 9 becomes LIBBPF_PIN_BY_NAME in directory '/sys/fs/bpf/mine/deep'" in found["changes"]
    )
    unknown = converted(capsys, OBJECTS / "legacy_pin9.bpf.o")
    assert "LIBBPF_PIN_BY_NAME" not in unknown["text"]
    assert "map 'cnt': pinning value 9 is not configured, so it is not pinned" in unknown["changes"]


def test_pin_of_another_name_and_two_directories_are_told(capsys: Capture) -> None:
    changes = "\n".join(converted(capsys, OBJECTS / "legacy_goebpf.bpf.o")["changes"])
    assert "map 'txcnt': by name it is pinned as 'txcnt', no longer as 'goe_txcnt'" in changes
    assert "inner_map_def becomes the inner declaration" in changes


def test_section_that_does_not_tell_the_hook_leaves_the_choice(capsys: Capture) -> None:
    changes = converted(capsys, OBJECTS / "legacy_notype.bpf.o")["changes"]
    assert (
        """the function of section 'prog': section "prog" becomes SEC("xdp") or SEC("tc"), as its hook is""" in changes
    )


def test_standard_object_has_nothing_to_convert(capsys: Capture) -> None:
    found = converted(capsys, OBJECTS / "xdp_count.bpf.o")
    assert (found["text"], found["maps"], found["changes"]) == ("", [], [])
    assert main(["convert", str(OBJECTS / "xdp_count.bpf.o")]) == 0
    assert "nothing is to be converted" in capsys.readouterr().out


def test_name_that_c_does_not_take_is_refused(capsys: Capture, tmp_path: Path) -> None:
    path = written(tmp_path / "a.o", *maps_of(**{"a b": record(MapType.ARRAY, 4, 8, 2)}), program("main", "prog"))
    assert main(["convert", str(path)]) == 65
    assert "'a b' cannot be a name in C" in capsys.readouterr().err


def test_foreign_text_cannot_leave_the_comment(capsys: Capture, tmp_path: Path) -> None:
    maps = maps_of(cnt=record(MapType.ARRAY, 4, 8, 2))
    path = written(tmp_path / "a.o", *maps, program("main", "*/ int evil; /*"))
    assert main(["convert", str(path)]) == 0
    text = capsys.readouterr().out
    assert text.count("*/") == 2


def test_type_and_flags_that_are_newer_than_known_are_numbers() -> None:
    spec = MapSpec(name="m", kernel_name="m", type=999, key_size=0, value_size=0, max_entries=0, flags=0x80000001)
    assert map_definition(spec, pinned=False) == (
        'struct {\n\t__uint(type, 999);\n\t__uint(map_flags, BPF_F_NO_PREALLOC | 0x80000000);\n} m SEC(".maps");'
    )
