"""Verbs that ask the daemon: what they send, print and return."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.fake_daemon import INTERFACE, attachment, daemon_status, fake_daemon
from xdploaderd.cli.main import main
from xdploaderd.cli.verb_table import MAP, VERBS

Capture = pytest.CaptureFixture[str]
CONTROL_CHARACTERS = "\x1b[2J\n<3>"


def _run(tmp_path: Path, reply: Mapping[str, Any], *argv: str) -> tuple[int, list[Mapping[str, Any]]]:
    with fake_daemon(tmp_path / "s", reply) as calls:
        return main([*argv, "--socket", str(tmp_path / "s")]), calls


def test_status_is_zero_when_everything_is_as_wanted(tmp_path: Path, capsys: Capture) -> None:
    status, calls = _run(tmp_path, {"parameters": {"status": daemon_status(attachment())}}, "status")
    assert (status, calls[0]["method"]) == (0, f"{INTERFACE}.Status")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "xdploaderd 1.2.3, process 42: everything as wanted"
    assert lines[-2].split() == ["NAME", "INTERFACE", "HOOK", "STATE", "ORIGIN", "PROGRAM", "ID", "PRIORITY", "HANDLE"]
    assert lines[-1].split() == ["edge", "eth0", "xdp", "attached", "configured", "xdp_pass", "17", "-", "-"]
    assert lines[-2].index("STATE") == lines[-1].index("attached")


def test_status_is_three_when_degraded_and_tells_the_reason(tmp_path: Path, capsys: Capture) -> None:
    broken = attachment(state="foreign", error_code="HookBusy", reason="program 9 'other' is there")
    status, _ = _run(tmp_path, {"parameters": {"status": daemon_status(broken, degraded=True)}}, "status")
    assert status == 3
    assert "edge: HookBusy: program 9 'other' is there" in capsys.readouterr().out


def test_status_prints_the_reply_as_json(tmp_path: Path, capsys: Capture) -> None:
    reply = daemon_status(attachment())
    for argv in (["--json", "status"], ["status", "--json"]):
        (tmp_path / "s").unlink(missing_ok=True)
        assert _run(tmp_path, {"parameters": {"status": reply}}, *argv)[0] == 0
        assert json.loads(capsys.readouterr().out) == reply


@pytest.mark.parametrize(("verb", "state", "expected"), [("attach", "attached", 0), ("detach", "detached", 0)])
def test_attach_and_detach_send_the_name(tmp_path: Path, verb: str, state: str, expected: int) -> None:
    status, calls = _run(tmp_path, {"parameters": {"attachment": attachment(state=state)}}, verb, "edge")
    assert status == expected
    assert calls == [{"method": f"{INTERFACE}.{verb.title()}", "parameters": {"name": "edge"}}]


def test_attach_that_did_not_attach_is_not_success(tmp_path: Path) -> None:
    reply = {"parameters": {"attachment": attachment(state="waiting", reason="no interface")}}
    assert _run(tmp_path, reply, "attach", "edge")[0] == 3


def test_list_shows_foreign_text_escaped(tmp_path: Path, capsys: Capture) -> None:
    hostile = attachment(program=CONTROL_CHARACTERS, reason=CONTROL_CHARACTERS, prog_name=CONTROL_CHARACTERS)
    assert _run(tmp_path, {"parameters": {"attachments": [hostile]}}, "list")[0] == 0
    out = capsys.readouterr().out
    assert r"\x1b[2J\x0a<3>" in out
    assert out.replace("\n", "").isprintable()


def test_plan_tells_actions_or_that_there_are_none(tmp_path: Path, capsys: Capture) -> None:
    action = {"action": "attach", "name": "edge", "interface": "eth0", "hook": "xdp", "reason": "not attached"}
    assert _run(tmp_path, {"parameters": {"actions": [action]}}, "plan")[0] == 0
    assert capsys.readouterr().out.splitlines()[1].split(maxsplit=4) == list(action.values())
    (tmp_path / "s").unlink()
    assert _run(tmp_path, {"parameters": {"actions": []}}, "plan")[0] == 0
    assert capsys.readouterr().out == "a reload would change nothing\n"


def test_plan_tells_maps_and_who_would_be_refused(tmp_path: Path, capsys: Capture) -> None:
    one = {"name": "flows", "action": "migrate", "pin": "/p/flows", "entries": 7, "lost": 0, "reason": "grew"}
    action = {"action": "replace", "name": "edge", "interface": "eth0", "hook": "xdp", "reason": "new object"}
    refusal = {**action, "action": "refuse", "name": "bad", "maps": [], "blocks": True, "confirm": False}
    actions = [{**action, "maps": [one], "blocks": False, "confirm": True}, refusal]
    assert _run(tmp_path, {"parameters": {"actions": actions}}, "plan")[0] == 0
    out = capsys.readouterr().out.splitlines()
    assert out[5].split() == ["flows", "edge", "migrate", "7", "-", "/p/flows", "grew"]
    assert "would be refused for bad" in out[7]
    assert "protected: eth0" in out[9]


def test_error_of_the_daemon_is_one_line_with_its_code_and_status(tmp_path: Path, capsys: Capture) -> None:
    fields = {"message": "attachment 'x' is not configured"}
    reply = {"error": f"{INTERFACE}.NoSuchAttachment", "parameters": fields}
    assert _run(tmp_path, reply, "attach", "x")[0] == 66
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "xdploaderctl: NoSuchAttachment: attachment 'x' is not configured\n"


def test_error_is_one_json_object_when_asked(tmp_path: Path, capsys: Capture) -> None:
    assert main(["status", "--json", "--socket", str(tmp_path / "none")]) == 69
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["code"] == "DaemonUnreachable"


def test_socket_may_come_from_the_environment(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDPLOADERD_SOCKET", str(tmp_path / "s"))
    with fake_daemon(tmp_path / "s", {"parameters": {"actions": []}}):
        assert main(["plan"]) == 0


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nonsense"],
        ["attach"],
        ["attach", "x", "--force"],
        ["attach", "--object", "x.o"],
        ["stat"],
        ["status", "--jso"],
        ["map"],
    ],
)
def test_wrong_command_line_is_one_line_and_exits_with_two(argv: list[str], capsys: Capture) -> None:
    assert main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("xdploaderctl: Usage: ")
    assert "--help`" in line


def test_wrong_command_line_is_json_when_that_was_asked_for(capsys: Capture) -> None:
    assert main(["load", "a", "b", "c", "--json"]) == 2
    error = json.loads(capsys.readouterr().err)
    assert (error["code"], error["message"]) == ("Usage", "unrecognized arguments: c (see `xdploaderctl --help`)")


def test_text_that_the_terminal_cannot_show_is_escaped(tmp_path: Path) -> None:
    environment = {"PYTHONIOENCODING": "ascii", "XDPLOADERD_SOCKET": str(tmp_path / "s")}
    argv = [sys.executable, "-m", "xdploaderd.cli.main", "list"]
    with fake_daemon(tmp_path / "s", {"parameters": {"attachments": [attachment(program="größe")]}}):
        done = subprocess.run(argv, capture_output=True, env=environment, check=True)
    assert rb"gr\xf6\xdfe" in done.stdout


@pytest.mark.parametrize("argv", [[], ["map"], ["map", "dump"], *([verb] for verb in VERBS if verb != MAP)])
def test_every_verb_has_help_that_names_the_common_options(argv: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        sys.exit(main([*argv, "--help"]))
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "--json" in out
    assert max(map(len, out.splitlines())) <= 132


def test_online_verbs_import_nothing_slow(tmp_path: Path) -> None:
    program = (
        "import sys; from xdploaderd.cli.main import main; status = main(sys.argv[1:]);"
        "slow = {'pyroute2', 'elftools', 'pydantic', 'asyncio', 'yaml', 'asyncvarlink', 'dbus_fast', 'ctypes'};"
        "print(sorted(slow & set(sys.modules)), file=sys.stderr); sys.exit(status)"
    )
    argv = [sys.executable, "-c", program, "list", "--socket", str(tmp_path / "s")]
    with fake_daemon(tmp_path / "s", {"parameters": {"attachments": []}}):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "[]\n")


def test_core_log_is_told_in_libbpfs_words_or_as_it_came(tmp_path: Path, capsys: Capture) -> None:
    entry = {
        "program": "xdp_pass", "number": 3, "insn_idx": 5, "kind": "byte_off", "source": "fw.c:7", "poisoned": False,
        "local": {"spec": "<byte_off> [8] struct a.b (0:0 @ offset 0)"}, "candidates": [], "error": None,
        "original_value": 0, "new_value": 112, "insn_before": "61", "insn_after": "62",
    }  # fmt: skip
    for number, argv in enumerate((["core-log", "edge"], ["core-log", "edge", "--json"])):
        with fake_daemon(tmp_path / str(number), {"parameters": {"core_log": [entry]}}) as calls:
            assert main([*argv, "--socket", str(tmp_path / str(number))]) == 0
        assert calls == [{"method": f"{INTERFACE}.CoreLog", "parameters": {"name": "edge"}}]
    *lines, document = capsys.readouterr().out.split("\n", 2)
    assert lines == [
        "prog 'xdp_pass': relo #3: <byte_off> [8] struct a.b (0:0 @ offset 0) (fw.c:7)",
        "prog 'xdp_pass': relo #3: insn #5 0 => 112 (61 => 62)",
    ]
    assert json.loads(document) == [entry]


def test_orphan_whose_interface_is_not_here_is_told_so(tmp_path: Path, capsys: Capture) -> None:
    left = {"name": "all@m2", "prog_id": 7, "prog_name": "main", "prog_tag": "", "places": [], "pins": []}
    orphan = {**left, "swept_at": 0}
    _run(tmp_path, {"parameters": {"status": {**daemon_status(), "orphans": [orphan]}}}, "orphans")
    told = "orphan all@m2: program 7 (main), on no interface of this network namespace; swept in 0 s\n"
    assert capsys.readouterr().out == told


def test_attach_object_sends_what_its_options_say(tmp_path: Path) -> None:
    words = "--match name=eth* --match driver=ixgbe --hook xdp --on-foreign restore --maps shared --keep-map flows"
    reply = {"parameters": {"attachment": attachment()}}
    status, calls = _run(tmp_path, reply, "attach", "--by-path", "--object", "/fw.o", *words.split(), "all")
    assert status == 0
    assert calls[0]["parameters"]["entry"] == {
        "name": "all",
        "object": "/fw.o",
        "hook": "xdp",
        "match": {"name": "eth*", "driver": "ixgbe"},
        "on_foreign": "restore",
        "maps": "shared",
        "keep_maps": ["flows"],
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--match name=eth*", "--match takes the place of --interface, and needs NAME"),
        ("--match name=eth* --interface eth0 all", "--match takes the place of --interface, and needs NAME"),
        ("--match eth* all", "--match 'eth*' is not of the form KEY=VALUE"),
        ("all", "--object needs --interface"),
    ],
)
def test_attach_object_names_its_interfaces_in_one_way(tmp_path: Path, capsys: Capture, words: str, said: str) -> None:
    assert main(["attach", "--object", "/fw.o", "--hook", "xdp", *words.split(), "--socket", str(tmp_path / "s")])
    assert said in capsys.readouterr().err
