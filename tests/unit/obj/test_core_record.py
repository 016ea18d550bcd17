"""The record of CO-RE decisions as JSON, its schema, and what core-diff tells of two kernels."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.support.decision_lines import format_decision
from xdploaderd.cli.main import main
from xdploaderd.kernel.known import target_from_file
from xdploaderd.obj.core_record import core_log
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare
from xdploaderd.obj.relocate_core import CoreRelocated, relocate_core
from xdploaderd.obj.spec import ObjectSpec

ROOT = Path(__file__).parents[3]
CORE = ROOT / "tests" / "bpf" / "core"
SCHEMA = json.loads((ROOT / "docs" / "core-log.schema.json").read_text())
Capture = pytest.CaptureFixture[str]


def opened(name: str) -> ObjectSpec:
    return open_object((CORE / f"{name}.local.o").read_bytes(), name=f"{name}.local.o")


def relocated(obj: ObjectSpec, target: str) -> CoreRelocated:
    return relocate_core(obj, target_from_file(CORE / f"{target}.target.o"), locate=lambda function, _: function.name)


def log_of(name: str, target: str) -> list[dict[str, Any]]:
    obj = opened(name)
    core = relocated(obj, target)
    return core_log(obj, (*core.decisions, *core.failures))


@pytest.mark.parametrize(
    ("name", "target"), [("fields", "fields"), ("types", "types"), ("refused", "refused"), ("fields", "types")]
)
def test_record_is_as_its_schema_says(name: str, target: str) -> None:
    log = log_of(name, target)
    obj = opened(name)
    assert obj.btf_ext
    assert len(log) == sum(map(len, obj.btf_ext.core_relos.values()))
    jsonschema.validate(json.loads(json.dumps(log)), SCHEMA)


def test_schema_refuses_what_is_no_record() -> None:
    entry = log_of("types", "types")[0]
    for wrong in ({**entry, "kind": "byte_offset"}, {**entry, "more": 1}, {**entry, "new_value": -1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate([wrong], SCHEMA)


def test_record_tells_source_specs_and_instructions() -> None:
    log = log_of("fields", "fields")
    obj = opened("fields")
    prepared = prepare(obj, target_from_file(CORE / "fields.target.o"))
    assert any(entry["candidates"] for entry in log)
    for entry, decision in zip(log, prepared.core_log, strict=True):
        lines = format_decision(decision)
        assert entry["local"]["spec"] in lines[0]
        assert entry["source"].startswith("./core/fields.local.c:")
        assert bytes.fromhex(entry["insn_after"]) == decision.after
        assert entry["insn_before"] != entry["insn_after"] or entry["original_value"] == entry["new_value"]
        for candidate in entry["candidates"]:
            assert bool(candidate["reason"]) is (candidate["verdict"] == "non-matching")


def test_refused_record_keeps_its_candidates_and_the_others_of_its_program_are_told() -> None:
    log = log_of("refused", "refused")
    ambiguous = next(entry for entry in log if entry["program"] == "ambiguous_offset")
    assert "candidates disagree" in ambiguous["error"]
    assert [candidate["verdict"] for candidate in ambiguous["candidates"]] == ["matching", "matching"]
    assert ambiguous["target"] is None
    assert next(entry for entry in log if entry["program"] == "ok_same_offset")["error"] is None


def test_poison_has_no_value() -> None:
    poisoned = [entry for entry in log_of("fields", "types") if entry["poisoned"]]
    assert poisoned
    assert all(entry["new_value"] is None and entry["target"] is None for entry in poisoned)


def test_same_kernel_does_not_differ_from_itself(capsys: Capture) -> None:
    target = str(CORE / "types.target.o")
    assert main(["core-diff", str(CORE / "types.local.o"), "--btf", target, "--btf", target]) == 0
    assert capsys.readouterr().out.startswith("0 of ")


def test_difference_tells_both_sides(capsys: Capture) -> None:
    one, other = str(CORE / "fields.target.o"), str(CORE / "types.target.o")
    assert main(["core-diff", str(CORE / "fields.local.o"), "--btf", one, "--btf", other]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "./core/fields.local.c:" in lines[0]
    assert lines[1].startswith(f"  {one}: ")
    assert lines[2].startswith(f"  {other}: ")


def test_differences_as_json_hold_records_of_the_schema(capsys: Capture) -> None:
    one, other = str(CORE / "refused.target.o"), str(CORE / "types.target.o")
    assert main(["core-diff", str(CORE / "refused.local.o"), "--btf", one, "--btf", other, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["one"], told["other"]) == (one, other)
    sides = [side for difference in told["differences"] for side in (difference["one"], difference["other"])]
    jsonschema.validate(sides, SCHEMA)
    assert len(told["differences"]) == told["records"]


@pytest.mark.parametrize("count", [1, 3])
def test_two_kernels_are_compared_no_other_number(count: int, capsys: Capture) -> None:
    target = str(CORE / "types.target.o")
    assert main(["core-diff", str(CORE / "types.local.o"), *(["--btf", target] * count)]) == 64
    assert "want the two kernels" in capsys.readouterr().err


def test_prepare_tells_the_record(capsys: Capture) -> None:
    argv = ["prepare", str(CORE / "refused.local.o"), "--btf", str(CORE / "refused.target.o")]
    assert main([*argv, "--json"]) == 1
    log = json.loads(capsys.readouterr().out)["reports"][0]["core_log"]
    jsonschema.validate(log, SCHEMA)
    assert len(log) == 11
    assert main([*argv, "--core-log"]) == 1
    lines = capsys.readouterr().out.splitlines()
    first = "prog 'ok_same_offset': relo #0: <byte_off> [8] struct amb.same (0:1 @ offset 4) ("
    assert any(line.startswith(first) for line in lines)
    assert any("insn #0 4 => 4 (b700000004000000 => b700000004000000)" in line for line in lines)
    assert any(line.startswith("prog 'ambiguous_offset'") and "refused: candidates disagree" in line for line in lines)


def test_matrix_holds_the_record_on_request(capsys: Capture) -> None:
    target = str(CORE / "types.target.o")
    argv = ["prepare", str(CORE / "types.local.o"), "--btf", target, "--btf", str(CORE / "fields.target.o"), "--json"]
    main(argv)
    assert ["core_log" in report for report in json.loads(capsys.readouterr().out)["reports"]] == [False, False]
    main([*argv, "--core-log"])
    assert [bool(report["core_log"]) for report in json.loads(capsys.readouterr().out)["reports"]] == [True, True]
