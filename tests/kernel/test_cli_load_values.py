"""`xdploaderctl load` with values, sizes and maps given by name, on the real kernel, judged by bpftool."""

import json
from pathlib import PurePosixPath
from typing import Any

import pytest

from tests.kernel.loaded import BPFFS, DIR, Capture, load_cli, pinned_tree
from tests.support.tools import bpftool_json
from xdploaderd.cli.main import main
from xdploaderd.kernel.bpf import Bpf

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("pins_go")]


def test_variables_and_sizes_given_by_name_are_in_the_kernel(capsys: Capture, conf: str) -> None:
    argv = ["--global", "start=100", "--global", "banner=world", "--global", "custom=0x20"]
    status, report, err = load_cli(capsys, conf, "std_globals.bpf.o", *argv)
    assert (status, err) == (0, "")
    shown: dict[str, Any] = {}
    for found in report["maps"]:
        (entry,) = bpftool_json("map", "dump", "pinned", found["pins"][-1])
        (variables,) = entry["formatted"]["value"].values()
        for variable in variables:
            shown |= variable
    assert (shown["start"], shown["custom"], shown["limit"]) == (100, 32, 7)


def test_members_given_by_name_are_in_the_kernel(capsys: Capture, conf: str) -> None:
    values = ("conf.limit=9", "conf.ports[1].high=7", "conf.level=0", "conf.name=x")
    argv = [word for value in values for word in ("--global", value)]
    status, _, err = load_cli(capsys, conf, "std_conf.bpf.o", *argv)
    assert (status, err) == (0, "")
    with Bpf().obj_get(PurePosixPath(DIR) / "settings") as settings:
        assert Bpf().prog_run(settings, bytes(64)).retval == 9234700


def test_size_given_by_name_is_in_the_kernel(capsys: Capture, conf: str) -> None:
    _, report, _ = load_cli(capsys, conf, "std_maps.bpf.o", "--max-entries", "flows=2048")
    (pin,) = [found["pins"][-1] for found in report["maps"] if found["name"] == "flows"]
    assert bpftool_json("map", "show", "pinned", pin)["max_entries"] == 2048


def test_map_is_shared_by_objects_under_a_name_of_its_own(capsys: Capture, conf: str) -> None:
    _, first, _ = load_cli(capsys, conf, "xdp_count.bpf.o", "--share", "xdp_frames=all/hits")
    main(["unload", str(DIR)])
    capsys.readouterr()
    _, second, _ = load_cli(capsys, conf, "xdp_count_v2.bpf.o", "--share", f"xdp_frames={BPFFS}/all/hits")
    (made,), (used,) = first["maps"], second["maps"]
    assert (made["reused"], used["reused"]) == (False, True)
    assert made["id"] == used["id"]
    assert str(BPFFS / "all" / "hits") in used["pins"]


def test_shared_map_that_differs_is_refused_by_its_fields(capsys: Capture, conf: str) -> None:
    load_cli(capsys, conf, "xdp_count.bpf.o", "--share", "xdp_frames=hits")
    main(["unload", str(DIR)])
    capsys.readouterr()
    share = ("--share", "xdp_frames=hits", "--max-entries", "xdp_frames=7")
    status, report, err = load_cli(capsys, conf, "xdp_count.bpf.o", *share)
    assert (status, report) == (73, None)
    assert json.loads(err)["differences"] == ["max entries: wanted 7, found 1"]


@pytest.mark.parametrize("pin", ["../hits", "/tmp/hits", "a.b", "n" * 256])
def test_map_is_shared_below_the_root_of_pins_only(pin: str, capsys: Capture, conf: str) -> None:
    status, report, err = load_cli(capsys, conf, "xdp_count.bpf.o", "--share", f"xdp_frames={pin}")
    assert (status, report, pinned_tree()) == (73, None, set())
    assert json.loads(err)["code"] == "PinFailed"


def test_map_left_out_stops_only_programs_that_use_it(capsys: Capture, conf: str) -> None:
    _, report, err = load_cli(capsys, conf, "reject.bpf.o", "--no-map", "reject_count")
    assert (report, pinned_tree()) == (None, set())
    assert "can be reached, but map 'reject_count' is left out" in json.loads(err)["message"]


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--global", "strat=1"], "OverrideRefused"),
        (["--global", "start=x"], "OverrideRefused"),
        (["--global", "start"], "Usage"),
        (["--global", "start=1", "--global", "start=2"], "Usage"),
        (["--max-entries", "start=x"], "Usage"),
        (["--max-entries", "start=1"], "OverrideRefused"),
        (["--no-map", "start"], "OverrideRefused"),
    ],
)
def test_value_that_the_object_cannot_take_is_refused(argv: list[str], code: str, capsys: Capture, conf: str) -> None:
    status, report, err = load_cli(capsys, conf, "std_globals.bpf.o", *argv)
    assert (status, report, pinned_tree()) == (64, None, set())
    assert json.loads(err)["code"] == code
