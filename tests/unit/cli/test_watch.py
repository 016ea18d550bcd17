"""What `wait` waits for."""

from typing import Any

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
