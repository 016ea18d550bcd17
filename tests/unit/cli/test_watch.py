"""What `wait` waits for."""

import socket
from pathlib import Path
from typing import Any

import pytest

from xdploaderd.cli import watch
from xdploaderd.cli.main import main
from xdploaderd.cli.watch import missing


def attachment(name: str, state: str = "attached", reason: str = "") -> dict[str, Any]:
    return {"name": name, "entry": name.partition("@")[0], "state": state, "reason": reason}


ALL = (attachment("edge"), attachment("all@eth0"), attachment("all@eth1", "failed", "busy"), attachment("none", "idle"))


def test_without_names_everything_is_waited_for_but_idle_entries() -> None:
    assert missing(ALL, ()) == {"all@eth1": "failed: busy"}
    assert missing((), ()) == {}


def test_entry_for_several_interfaces_is_waited_for_on_each() -> None:
    assert missing(ALL, ("edge", "all@eth0")) == {}
    assert missing(ALL, ("all",)) == {"all@eth1": "failed: busy"}


def test_entry_that_is_named_needs_an_interface() -> None:
    assert missing(ALL, ("none",)) == {"none": "idle"}
    assert missing(ALL, ("other",)) == {"other": "there is no attachment of that name"}


@pytest.mark.parametrize("names", [(), ("edge",)])
def test_daemon_that_does_not_answer_in_time_is_not_told_as_a_missing_attachment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    monkeypatch.setattr(watch, "ANSWER_SECONDS", 0.02)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "control"))
        silent.listen()
        assert main(["wait", *names, "--timeout", "0.02", "--socket", str(tmp_path / "control")]) == 69
    told = capsys.readouterr()
    assert told.out == ""
    assert "no answer from" in told.err
    assert "within 0.02 s" in told.err
