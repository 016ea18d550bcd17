"""btfgen: files and directories, what is printed, and that a failure leaves no file."""

import json
import struct
from pathlib import Path

import pytest

from xdploaderd.btf.codec import Btf
from xdploaderd.cli.main import main
from xdploaderd.obj.elf import ElfImage
from xdploaderd.obj.elf_sections import SectionType

Capture = pytest.CaptureFixture[str]
CORE = Path(__file__).parents[2] / "bpf" / "core"


def btf_section(name: str) -> bytes:
    section = ElfImage.parse((CORE / name).read_bytes(), name=name).section(".BTF")
    assert section
    return bytes(section.data())


def test_one_kernel_is_cut_down(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "min.btf"
    target = CORE / "fields.target.o"
    assert main(["btfgen", "--btf", str(target), "-o", str(out), str(CORE / "fields.local.o")]) == 0
    types = len(Btf.parse(out.read_bytes(), name="min")) - 1
    assert capsys.readouterr().out == (
        f"{target} -> {out}: {len(btf_section('fields.target.o'))} -> {out.stat().st_size} bytes, {types} types\n"
    )
    assert 0 < types < len(Btf.parse(btf_section("fields.target.o"), name="whole")) - 1


def test_directory_becomes_a_directory_of_the_same_shape(tmp_path: Path, capsys: Capture) -> None:
    kernels = tmp_path / "kernels"
    for path in ("debian/11/5.10.btf", "debian/12/6.1.btf"):
        (kernels / path).parent.mkdir(parents=True)
        (kernels / path).write_bytes(btf_section("types.target.o"))
    (kernels / "README").write_text("not a kernel")
    argv = ["btfgen", "--btf", str(kernels), "-o", str(tmp_path / "small"), str(CORE / "types.local.o"), "--json"]
    assert main(argv) == 0
    told = json.loads(capsys.readouterr().out)
    written = sorted(str(p.relative_to(tmp_path / "small")) for p in (tmp_path / "small").rglob("*") if p.is_file())
    assert written == ["debian/11/5.10.btf", "debian/12/6.1.btf"]
    assert [row["output"] for row in told["minimised"]] == [str(tmp_path / "small" / path) for path in written]
    assert told["failed"] == 0


def test_bad_kernel_of_a_directory_is_named_and_the_others_are_written(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "a.btf").write_bytes(b"no BTF")
    (tmp_path / "b.btf").write_bytes(btf_section("types.target.o"))
    argv = ["btfgen", "--btf", str(tmp_path), "-o", str(tmp_path / "small"), str(CORE / "types.local.o")]
    assert main(argv) == 3
    captured = capsys.readouterr()
    assert "a.btf" in captured.err
    assert [p.name for p in (tmp_path / "small").iterdir()] == ["b.btf"]


def test_record_that_cannot_be_decided_leaves_the_old_file(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "min.btf"
    out.write_text("old")
    argv = ["btfgen", "--btf", str(CORE / "refused.target.o"), "-o", str(out), str(CORE / "refused.local.o")]
    assert main(argv) == 65
    err = capsys.readouterr().err
    assert "refused.target.o" in err
    assert "object 'refused.local.o'" in err
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_output_that_cannot_be_written_is_told(tmp_path: Path, capsys: Capture) -> None:
    target, local = CORE / "types.target.o", CORE / "types.local.o"
    (tmp_path / "file").write_text("")
    assert main(["btfgen", "--btf", str(target), "-o", str(tmp_path / "file" / "out"), str(local)]) == 66
    assert "is no directory" in capsys.readouterr().err


def test_object_without_types_is_refused(tmp_path: Path, capsys: Capture) -> None:
    plain = CORE.parent / "legacy_pin0.bpf.o"
    argv = ["btfgen", "--btf", str(CORE / "types.target.o"), "-o", str(tmp_path / "out"), str(plain)]
    assert main(argv) == 65
    assert "-g" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_object_without_symbols_is_taken_as_bpftool_takes_it(tmp_path: Path) -> None:
    whole = CORE / "fields.local.o"
    raw = bytearray(whole.read_bytes())
    (table,) = (s for s in ElfImage.parse(bytes(raw), name="whole").sections if s.type == SectionType.SYMTAB)
    headers, size = struct.unpack_from("<Q", raw, 40)[0], 64
    struct.pack_into("<I", raw, headers + size * table.number + 4, SectionType.PROGBITS)
    without = tmp_path / "without.o"
    without.write_bytes(raw)
    for path, out in ((whole, "whole.btf"), (without, "without.btf")):
        assert main(["btfgen", "--btf", str(CORE / "fields.target.o"), "-o", str(tmp_path / out), str(path)]) == 0
    assert (tmp_path / "whole.btf").read_bytes() == (tmp_path / "without.btf").read_bytes()
