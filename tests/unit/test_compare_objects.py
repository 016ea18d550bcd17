"""What `dev bpf` calls a difference: what a loader would see, and nothing else."""

from pathlib import Path

import pytest

from tools.compare_objects import differences, main

BPF = Path(__file__).parents[1] / "bpf"


def _found(old: str, new: str) -> list[str]:
    return list(differences((BPF / old).read_bytes(), (BPF / new).read_bytes()))


@pytest.mark.parametrize("name", ["demo_xdp.bpf.o", "demo_tc_legacy.bpf.o", "std_externs.bpf.o", "big_endian.bpf.o"])
def test_object_equals_itself(name: str) -> None:
    assert _found(name, name) == []


def test_other_instruction_is_named_with_its_section() -> None:
    found = _found("xdp_count.bpf.o", "xdp_count_v2.bpf.o")
    assert any(line.startswith("section only in the rebuilt object: ('xdp'") for line in found)


def test_missing_btf_is_named() -> None:
    found = _found("legacy_pin2_btf.bpf.o", "legacy_pin2.bpf.o")
    assert found
    assert all(line.startswith(("BTF type only in the committed", ".BTF.ext record only in")) for line in found)


def test_other_byte_order_is_the_one_difference() -> None:
    assert _found("xdp_pass.bpf.o", "big_endian.bpf.o") == ["byte order: little, rebuilt big"]


def test_debug_sections_and_string_tables_mean_nothing() -> None:
    raw = (BPF / "xdp_pass.bpf.o").read_bytes()
    assert list(differences(raw, raw.replace(b".debug_str\0", b".debug_xyz\0"))) == []


def test_missing_and_unreadable_objects_make_the_run_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for top in (old, new):
        top.mkdir()
        (top / "same.o").write_bytes((BPF / "xdp_pass.bpf.o").read_bytes())
    assert main(old, new) == 0
    (old / "gone.o").write_bytes(b"")
    (new / "same.o").write_bytes(b"text")
    assert main(old, new) == 1
    printed = capsys.readouterr().out
    assert f"gone.o: not in {new}" in printed
    assert "0 of 2 objects are the same" in printed
