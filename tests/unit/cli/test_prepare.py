"""`xdploaderctl prepare` against kernels that are a few types in a file."""

import json
import lzma
import os
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.builders.btf import U32, blob_of, btf_of, member, split_btf, struct
from tests.builders.elf import RETURN_0, object_of, program
from tests.builders.kernel_types import kernel_types
from xdploaderd.btf.build import BtfBuilder, encode_types
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfType, Func, FuncProto, Int, Linkage
from xdploaderd.cli.main import main
from xdploaderd.insn import CALL, Insn, encode_insns
from xdploaderd.uapi.bpf import Helper

OBJECTS = Path(__file__).parents[2] / "bpf"
DOCS = Path(__file__).parents[3] / "docs"
SCHEMA = json.loads((DOCS / "prepare.schema.json").read_text())
CORE_LOG = json.loads((DOCS / "core-log.schema.json").read_text())
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """Return the BTF file of a kernel that knows all."""
    return write(tmp_path / "6.1.btf", kernel_types())


def write(path: Path, types: list[BtfType]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(blob_of(types))
    return path


def run(capsys: Capture, *argv: str | Path) -> tuple[int, Any]:
    """Return exit status and report, which is held to its schema; or the error."""
    status = main(["prepare", "--json", *map(str, argv)])
    captured = capsys.readouterr()
    if not captured.out:
        return status, json.loads(captured.err)
    reply = json.loads(captured.out)
    jsonschema.validate(reply, SCHEMA)
    for report in reply["reports"]:
        jsonschema.validate(report.get("core_log", []), CORE_LOG)
    assert status == {"holds": 0, "fails": 1, "unknown": 3}[reply["verdict"]]
    return status, reply


def unmet(reply: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    checks = [check for report in reply["reports"] for check in report["checks"]]
    return {(c["name"], c["check"], c["verdict"]) for c in checks if c["verdict"] != "holds"}


def test_all_that_holds_is_exit_0(capsys: Capture, kernel: Path) -> None:
    status, reply = run(capsys, OBJECTS / "xdp_count.bpf.o", "--btf", kernel)
    assert (status, reply["verdict"], unmet(reply)) == (0, "holds", set())
    (report,) = reply["reports"]
    assert report["kernel"] == "6.1"
    assert set(report["capabilities"]) == {"CAP_BPF", "CAP_NET_ADMIN"}
    assert reply["not_checked"] == ["verifier"]


def test_types_that_are_no_kernels_leave_all_unknown(capsys: Capture, tmp_path: Path) -> None:
    status, reply = run(capsys, OBJECTS / "xdp_pass.bpf.o", "--btf", write(tmp_path / "few.btf", [U32]))
    assert status == 3
    assert {verdict for _, _, verdict in unmet(reply)} == {"unknown"}


def test_map_type_that_the_kernel_lacks_fails(capsys: Capture, tmp_path: Path) -> None:
    old = write(tmp_path / "old.btf", kernel_types(maps=28))
    status, reply = run(capsys, OBJECTS / "std_maps.bpf.o", "--btf", old)
    assert status == 1
    assert {(check, verdict) for _, check, verdict in unmet(reply) if verdict == "fails"} == {("type", "fails")}
    since = {c["since"] for r in reply["reports"] for c in r["checks"] if c["verdict"] == "fails"}
    assert since == {"5.16"}


def test_helper_that_the_kernel_lacks_fails_where_it_can_run(capsys: Capture, tmp_path: Path) -> None:
    old = write(tmp_path / "old.btf", kernel_types(helpers=170))
    status, reply = run(capsys, OBJECTS / "std_calls.bpf.o", "--btf", old, "--program", "calls_second")
    assert status == 1
    assert ("calls_second", "helpers", "fails") in unmet(reply)


def test_externs_without_their_files_are_unknown_and_never_this_hosts(capsys: Capture, kernel: Path) -> None:
    status, reply = run(capsys, OBJECTS / "std_externs.bpf.o", "--btf", kernel)
    assert status == 3
    unknown = {name for name, check, verdict in unmet(reply) if (check, verdict) == ("value", "unknown")}
    assert {"CONFIG_HZ", "LINUX_KERNEL_VERSION", "no_such_symbol_at_all"} <= unknown


def test_given_files_and_release_settle_externs(capsys: Capture, kernel: Path, tmp_path: Path) -> None:
    config, symbols = tmp_path / "config", tmp_path / "kallsyms"
    config.write_text('CONFIG_BPF_SYSCALL=y\nCONFIG_HZ=250\nCONFIG_BPF=y\nCONFIG_LOCALVERSION=""\n')
    symbols.write_text("ffffffff81000000 T _stext\n")
    given = ("--kconfig", config, "--kallsyms", symbols, "--release", "6.1.7-amd64")
    _, reply = run(capsys, OBJECTS / "std_externs.bpf.o", "--btf", kernel, *given)
    assert not [entry for entry in unmet(reply) if entry[1] == "value"]
    reasons = {c["name"]: c["reason"] for c in reply["reports"][0]["checks"] if c["check"] == "value"}
    assert reasons["CONFIG_HZ"] == "0x000000fa"
    assert reasons["LINUX_KERNEL_VERSION"] == "0x00060107"


def test_unknown_externs_tell_which_option_settles_them(capsys: Capture, kernel: Path) -> None:
    _, reply = run(capsys, OBJECTS / "std_externs.bpf.o", "--btf", kernel)
    wanted = {check["name"]: check["reason"].rpartition(" ")[2] for check in reply["reports"][0]["checks"]}
    assert wanted["CONFIG_HZ"] == "--kconfig"
    assert wanted["LINUX_KERNEL_VERSION"] == "--release"
    assert wanted["no_such_symbol_at_all"] == "--kallsyms"


def test_configuration_may_be_packed(capsys: Capture, kernel: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.xz"
    config.write_bytes(lzma.compress(b"CONFIG_HZ=250\n"))
    _, reply = run(capsys, OBJECTS / "std_externs.bpf.o", "--btf", kernel, "--kconfig", config)
    assert ("CONFIG_HZ", "value", "unknown") not in unmet(reply)
    assert ("CONFIG_BPF", "value", "fails") in unmet(reply)


def test_several_kernels_make_a_matrix(capsys: Capture, tmp_path: Path) -> None:
    write(tmp_path / "hub/debian/12/x86_64/5.10.btf", kernel_types(maps=28))
    with tarfile.open(tmp_path / "hub/6.1.btf.tar.xz", "w:xz") as archive:
        archive.add(write(tmp_path / "6.1.btf", kernel_types()), "6.1.btf")
    objects = [OBJECTS / name for name in ("std_maps.bpf.o", "xdp_pass.bpf.o", "std_untyped.bpf.o")]
    status = main(["prepare", *map(str, objects), "--btf-dir", str(tmp_path / "hub")])
    out, err = capsys.readouterr()
    assert (status, err) == (1, "")
    lines = out.splitlines()
    assert lines[0].split() == ["OBJECT", "6.1", "debian/12/x86_64/5.10"]
    assert [line.split()[-2:] for line in lines[1:4]] == [["holds", "fails"], ["holds", "holds"], ["fails", "fails"]]
    assert any("fails in debian/12/x86_64/5.10: map bloom" in line for line in lines[4:])


def test_what_is_no_object_fails(capsys: Capture, kernel: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.o"
    path.write_text("no ELF file")
    status, reply = run(capsys, path, "--btf", kernel)
    assert status == 1
    assert unmet(reply) == {(str(path), "form", "fails")}


def test_byte_orders_that_differ_fail(capsys: Capture, kernel: Path, tmp_path: Path) -> None:
    status, reply = run(capsys, OBJECTS / "big_endian.bpf.o", "--btf", kernel)
    assert (status, unmet(reply)) == (1, {("big_endian", "byte order", "fails")})
    big = tmp_path / "big.btf"
    big.write_bytes(blob_of(kernel_types(), "big"))
    assert run(capsys, OBJECTS / "xdp_pass.bpf.o", "--btf", big)[0] == 1
    status, reply = run(capsys, OBJECTS / "big_endian.bpf.o", "--btf", big)
    assert (status, unmet(reply)) == (3, {("big_endian", "byte order", "unknown")})


def test_instructions_are_printed_with_maps_by_name(capsys: Capture, kernel: Path) -> None:
    assert main(["prepare", str(OBJECTS / "xdp_count.bpf.o"), "--btf", str(kernel), "--dump-insns"]) == 0
    out = capsys.readouterr().out
    assert "r1 = map '" in out
    assert "(95) exit" in out
    _, reply = run(capsys, OBJECTS / "xdp_count.bpf.o", "--btf", kernel, "--dump-insns")
    ((_, code),) = reply["reports"][0]["insns"].items()
    assert code[-1]["text"] == "(95) exit"
    assert bytes.fromhex(code[-1]["bytes"]) == b"\x95" + bytes(7)


def test_kfunc_of_a_module_is_found_in_the_modules_types(capsys: Capture, kernel: Path, tmp_path: Path) -> None:
    base = Btf.parse(kernel.read_bytes(), name="vmlinux")
    builder = BtfBuilder(strings=b"", first_id=len(base), first_offset=len(base.strings))
    proto = builder.add(FuncProto(1, (("x", 1),)))
    builder.add(Func("no_such_kfunc_at_all", proto, int(Linkage.STATIC)))
    module = tmp_path / "nf_x.btf"
    module.write_bytes(builder.encode())
    _, reply = run(capsys, OBJECTS / "std_externs.bpf.o", "--btf", kernel, "--module-btf", module)
    reasons = {c["name"]: c["reason"] for c in reply["reports"][0]["checks"]}
    assert reasons["no_such_kfunc_at_all"] == f"type [{len(base) + 1}] of nf_x"
    assert "CAP_SYS_ADMIN" in reply["reports"][0]["capabilities"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--btf", "a", "--btf", "b", "--release", "6.1"), "facts of one kernel"),
        (("--btf", "a", "--btf", "b", "--dump-insns"), "--json only"),
        (("--btf", "/etc/passwd", "--module-btf", "=x"), "not of the form"),
    ],
)
def test_requests_that_contradict_themselves_are_refused(capsys: Capture, argv: tuple[str, ...], said: str) -> None:
    status = main(["prepare", str(OBJECTS / "xdp_pass.bpf.o"), *argv])
    assert status == 64
    assert said in capsys.readouterr().err


def test_object_that_is_missing_is_an_error(capsys: Capture, kernel: Path) -> None:
    assert run(capsys, "/no/such.o", "--btf", kernel)[0] == 66


def test_reports_of_any_content_keep_to_the_schema(capsys: Capture, kernel: Path, tmp_path: Path) -> None:
    few = write(tmp_path / "few.btf", [U32])
    (tmp_path / "cut.o").write_bytes((OBJECTS / "xdp_pass.bpf.o").read_bytes()[:999])
    names = ("demo_xdp.bpf.o", "std_externs.bpf.o", "big_endian.bpf.o", "core/refused.local.o")
    objects = [tmp_path / "cut.o", *(OBJECTS / name for name in names)]
    kernels = ("--btf", kernel, "--btf", few, "--btf", tmp_path / "none")
    _, reply = run(capsys, *objects, *kernels, "--core-log", "--dump-insns")
    assert len(reply["reports"]) == 3 * len(objects)
    assert {report["verdict"] for report in reply["reports"]} == {"fails", "unknown"}


def odd_file(tmp_path: Path, what: str) -> Path:
    path = tmp_path / "odd.btf"
    match what:
        case "empty":
            path.touch()
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "device":
            return Path("/dev/zero")
        case "missing":
            pass
        case "empty header":
            path.write_bytes(b"\x9f\xeb" + bytes(30))
        case "cut":
            path.write_bytes(blob_of(kernel_types())[:100])
        case "module":
            path.write_bytes(split_btf(btf_of(U32), struct("own", 4, member("a", 1))).raw)
    return path


@pytest.mark.parametrize(
    ("what", "status", "code"),
    [
        ("empty", 65, "InvalidObject"),
        ("directory", 66, "FileUnreadable"),
        ("fifo", 66, "FileUnreadable"),
        ("device", 66, "FileUnreadable"),
        ("missing", 66, "FileUnreadable"),
        ("empty header", 65, "InvalidBtf"),
        ("cut", 65, "InvalidBtf"),
        ("module", 65, "InvalidBtf"),
    ],
)
def test_odd_kernel_alone_is_an_error_and_unknown_in_a_matrix(
    capsys: Capture, kernel: Path, tmp_path: Path, what: str, status: int, code: str
) -> None:
    odd, obj = odd_file(tmp_path, what), OBJECTS / "xdp_pass.bpf.o"
    found, error = run(capsys, obj, "--btf", odd)
    assert (found, error["code"]) == (status, code)
    assert "odd" in error["message"] or what == "device"
    assert ("of a module" in error["message"]) is (what == "module")
    found, reply = run(capsys, obj, "--btf", odd, "--btf", kernel)
    assert found == 3
    (check,) = reply["reports"][0]["checks"]
    assert (check["check"], reply["reports"][0]["verdict"]) == ("kernel", "unknown")
    assert check["reason"].startswith(code)
    assert reply["reports"][1]["verdict"] == "holds"


def test_kernel_of_32_bits_and_of_the_other_byte_order(capsys: Capture, tmp_path: Path) -> None:
    obj, narrow, big = OBJECTS / "xdp_pass.bpf.o", tmp_path / "arm.btf", tmp_path / "s390x.btf"
    narrow.write_bytes(blob_of([*kernel_types(), Int("long unsigned int", 4, 0, 0, 32)]))
    big.write_bytes(encode_types(kernel_types(), byteorder="big"))
    status, reply = run(capsys, obj, "--btf", narrow)
    assert status == 0
    assert any("32-bit" in feature for feature in reply["reports"][0]["features"])
    status, reply = run(capsys, obj, "--btf", big)
    assert (status, unmet(reply)) == (1, {("xdp_pass", "byte order", "fails")})


@pytest.mark.parametrize("option", ["--kconfig", "--kallsyms"])
def test_fact_of_a_fifo_is_an_error(capsys: Capture, kernel: Path, tmp_path: Path, option: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    status, error = run(capsys, OBJECTS / "xdp_pass.bpf.o", "--btf", kernel, option, tmp_path / "fifo")
    assert (status, error["code"]) == (66, "FileUnreadable")


def calling(helper: Helper, *, license_text: bytes, section: str = "xdp", before: bytes = b"") -> bytes:
    code = before + encode_insns([Insn(CALL, 0, 0, 0, helper)], "little") + RETURN_0
    made = object_of(program("main", section, code))
    (old,) = [each for each in made.sections if each.name == "license"]
    sections = tuple(replace(each, data=license_text + b"\0") if each is old else each for each in made.sections)
    return replace(made, sections=sections).build()


SKIP_ONE = encode_insns([Insn(0x05, 0, 0, 1, 0)], "little")  # goto +1


@pytest.mark.parametrize(
    ("helper", "given", "release", "expected"),
    [
        (Helper.trace_printk, {"license_text": b"GPL"}, "6.1", {("license", "holds"), ("helpers", "holds")}),
        (Helper.trace_printk, {"license_text": b"Dual MIT/GPL"}, "6.1", {("license", "holds"), ("helpers", "holds")}),
        (Helper.trace_printk, {"license_text": b"MIT"}, "6.1", {("license", "fails"), ("helpers", "holds")}),
        (Helper.trace_printk, {"license_text": b""}, "6.1", {("license", "fails"), ("helpers", "holds")}),
        (
            Helper.trace_printk,
            {"license_text": b"MIT", "before": SKIP_ONE},
            "6.1",
            {("license", "holds"), ("helpers", "holds")},
        ),
        (Helper.ktime_get_ns, {"license_text": b"MIT"}, "6.1", {("helpers", "holds")}),
        (Helper.skb_load_bytes, {"license_text": b"GPL"}, "6.1", {("helpers", "fails")}),
        (Helper.skb_load_bytes, {"license_text": b"GPL"}, "7.2", {("helpers", "unknown")}),
        (Helper.skb_load_bytes, {"license_text": b"GPL"}, "", {("helpers", "unknown")}),
        (Helper.skb_load_bytes, {"license_text": b"GPL", "section": "tc"}, "6.1", {("helpers", "holds")}),
        (Helper.skb_load_bytes, {"license_text": b"GPL", "section": "kprobe/f"}, "6.1", {("helpers", "holds")}),
        (Helper.xdp_adjust_head, {"license_text": b"GPL", "section": "tc"}, "6.1", {("helpers", "fails")}),
    ],
)
def test_helper_is_held_to_type_and_license(
    capsys: Capture, tmp_path: Path, helper: Helper, given: Any, release: str, expected: set[tuple[str, str]]
) -> None:
    kernel = write(tmp_path / "kernel.btf", kernel_types())
    (tmp_path / "x.o").write_bytes(calling(helper, **given))
    _, reply = run(capsys, tmp_path / "x.o", "--btf", kernel, *(["--release", release] if release else []))
    checks = {(c["check"], c["verdict"]) for c in reply["reports"][0]["checks"] if c["check"] in ("helpers", "license")}
    assert checks == expected


def test_kernels_of_one_file_name_stay_apart(capsys: Capture, tmp_path: Path) -> None:
    new, old = (tmp_path / release / "vmlinux" for release in ("6.12", "5.10"))
    write(new, kernel_types())
    write(old, kernel_types(programs=5))
    _, reply = run(capsys, OBJECTS / "xdp_pass.bpf.o", "--btf", new, "--btf", old)
    assert [(each["kernel"], each["verdict"]) for each in reply["reports"]] == [
        (str(new), "holds"),
        (str(old), "fails"),
    ]
    both = ("--btf-dir", tmp_path / "6.12", "--btf-dir", tmp_path / "5.10")
    _, reply = run(capsys, OBJECTS / "xdp_pass.bpf.o", *both)
    assert [each["kernel"] for each in reply["reports"]] == [str(new), str(old)]
