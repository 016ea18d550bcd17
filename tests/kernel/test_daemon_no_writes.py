"""What is as wanted is left alone: no write to the kernel, no probe, and nothing parsed (G10, F4)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.campaigns import bad_entry, tracing
from tests.campaigns.seams import Seams
from tests.support.daemon import BPFFS, OBJECTS, Daemon, tail_entry, tc_ids, xdp_entry, xdp_id
from tests.support.in_process import in_process
from tests.support.kernel_writes import kernel_writes, to_file
from tests.support.netns import Veth, add_veth, ip, veth_pair
from tests.support.old_kernel import older_than
from xdploaderd.daemon.options import parse_options
from xdploaderd.daemon.wanted import objects
from xdploaderd.obj.open import open_object
from xdploaderd.obj.spec import ObjectSpec

pytestmark = pytest.mark.kernel

FLOWS = [{"key": f"hex:{1:024x}", "value": f"hex:{1:048x}"}]


@pytest.fixture
def veth() -> Iterator[Veth]:
    with veth_pair() as pair:
        for number in range(1, 6):
            add_veth(f"veth{number}", f"peer{number}", pair.namespace)
        yield pair
        for number in range(1, 6):
            ip("link", "del", f"veth{number}")


def every_kind(directory: Path) -> list[dict[str, object]]:
    """Return an entry of each kind: by netlink and link, for XDP and tc, in an order, by a glob, with maps."""
    init = directory / "flows.json"
    init.write_text(json.dumps(FLOWS))
    stamp = OBJECTS / "stamp.bpf.o"
    last = {"hook": "tc-egress", "attach": "link", "object": stamp, "program": "stamp_tc", "order": "last"}
    newer = {
        "6.6": tail_entry("side", **last, allow_gap="true"),
        "6.6.0": tail_entry("rear", **last, allow_gap="true"),  # both cannot be the last
        "5.16": xdp_entry("init", interface="veth4", object=OBJECTS / "std_maps.bpf.o", program="use_maps")
        | {"map_init": json.dumps({"flows": str(init)}).replace('"', "")},
    }
    return [
        xdp_entry("edge"),
        tail_entry("tail"),
        xdp_entry("wire", interface="veth1", attach="link", object=stamp, program="stamp_xdp"),
        xdp_entry("one", interface="veth2", maps="shared"),
        xdp_entry("two", interface="veth3", maps="shared"),
        *(entry for since, entry in newer.items() if not older_than(since)),
        {"name": "glob", "match": "{name: veth*}", "hook": "tc-ingress", "object": OBJECTS / "tc_count.bpf.o"}
        | {"program": "count_in", "priority": 9},
    ]


def unpin_devices() -> None:
    """Remove the pin that the map of the entry `init` wants, where that is in every_kind."""
    (BPFFS / "devices").unlink(missing_ok=older_than("5.16"))


def test_reload_without_a_change_writes_nothing_whatever_is_attached(
    veth: Veth, daemon: Daemon, tmp_path: Path
) -> None:
    daemon.configure(*every_kind(tmp_path))
    daemon.start()
    assert {a["state"] for a in daemon.call("List")["attachments"]} == {"attached"}, daemon.log()
    assert len(tc_ids()) == 2
    daemon.end()
    daemon.start()  # one that has prepared and probed nothing yet
    with tracing.traced(daemon.pid, to_file(tmp_path / "trace")):
        daemon.call("Reload")
    trace = (tmp_path / "trace").read_text()
    assert "BPF_OBJ_GET" in trace
    assert "RTM_GETLINK" in trace
    assert kernel_writes(tmp_path / "trace") == []
    unpin_devices()


def test_g10_bad_entry_changes_nothing_in_18_ways(tmp_path: Path) -> None:
    figures = bad_entry.run(tmp_path, 3)
    assert figures["bad ones"] == 18
    assert not any(figures[f"writes, {kind}"] for kind in set(bad_entry.KINDS) - set(bad_entry.NEEDS_A_LOAD))


def test_f4_start_over_what_is_as_wanted_writes_nothing(veth: Veth, daemon: Daemon, tmp_path: Path) -> None:
    daemon.configure(*every_kind(tmp_path))
    daemon.start()
    daemon.end()
    trace = tmp_path / "trace"
    daemon.start(prefix=("strace", *to_file(trace)))
    daemon.call("Status")
    daemon.end()
    assert "BPF_OBJ_GET" in trace.read_text()
    assert kernel_writes(trace) == []
    unpin_devices()


def test_daemon_that_starts_again_in_the_same_boot_probes_nothing(veth: Veth, daemon: Daemon) -> None:
    daemon.configure(xdp_entry(maps="per-interface"))
    options = parse_options(daemon.command()[3:])
    loads = []
    for turn in range(2):
        seams = Seams()
        with seams.installed(), seams.watched(), in_process(options) as process:
            process.ask(process.service.detach("edge"))
            process.ask(process.service.attach("edge"))
        kinds = [call.kind for call in seams.calls]
        loads.append((kinds.count("bpf BTF_LOAD"), kinds.count("bpf PROG_LOAD"), kinds.count("bpf MAP_CREATE")))
        assert xdp_id(), turn
    assert loads[1] == (1, 1, 0), f"{loads}: the object's own, and a map that is pinned"
    assert loads[0] > loads[1]
    assert (options.state_dir / "kernel").stat().st_mode & 0o777 == 0o600


def test_unchanged_digest_skips_parsing(veth: Veth, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []

    def counted(raw: bytes, **named: Any) -> ObjectSpec:
        parsed.append(raw)
        return open_object(raw, **named)

    monkeypatch.setattr(objects, "open_object", counted)
    file = daemon.directory / "count.o"
    raw = (OBJECTS / "xdp_count.bpf.o").read_bytes()
    file.write_bytes(raw)
    daemon.configure(xdp_entry(object=file))
    options = parse_options(daemon.command()[3:])
    with in_process(options):
        assert len(parsed) == 1
    with in_process(options) as process:
        process.ask(process.service.reload())
        file.write_bytes(raw)
        process.ask(process.service.reload())
        assert len(parsed) == 1
        file.write_bytes(raw + bytes(1))
        process.ask(process.service.reload())
        assert len(parsed) == 2
