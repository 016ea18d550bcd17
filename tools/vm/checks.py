"""Loads every object of tests/bpf through the command line, and tells what came of it as JSON.

Run on this machine it gives what a guest is compared with: `compare` tells the differences that need a reason.
"""

import argparse
import contextlib
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.namespaces import enter_namespaces, mount
from xdploaderd.cli.main import main as xdploaderctl
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.probes import probe
from xdploaderd.uapi.bpf import Feature

CHECKOUT = Path(__file__).resolve().parents[2]
OBJECTS = CHECKOUT / "tests/bpf"
BPFFS = Path("/sys/fs/bpf")
MARK = "CHECKS="
TYPES = ("", "tc", "xdp")  # the first that suits every program of an object
_MISSING = "NotSupportedByKernel"
_REFUSED = "KernelRefused"

Outcome = Mapping[str, Any]


def check_all() -> Outcome:
    """Load, explain and unload every object; ask every probe."""
    bpf = Bpf()
    objects = {path.name: check(path) for path in sorted(OBJECTS.rglob("*.bpf.o"))}
    return {"features": {str(feature): str(probe(bpf, feature)) for feature in Feature}, "objects": objects}


def check(path: Path) -> Outcome:
    """Return the status of each command for one object, with the error's code and text where there is one."""
    outcome: dict[str, Any] = {}
    for hook in TYPES:
        chosen = ["--type", hook] if hook else []
        outcome = {"type": hook, "load": _ctl("load", str(path), str(BPFFS / "checked"), *chosen)}
        if outcome["load"]["status"] == 0:
            outcome["unload"] = _ctl("unload", str(BPFFS / "checked"))
        outcome["left"] = _remove_pins()
        outcome["explain"] = _ctl("explain-pin", str(path), *chosen)
        if outcome["load"].get("code") not in ("InvalidObject", "Usage"):
            break
    return outcome


def _ctl(*argv: str) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = xdploaderctl([*argv, "--json"])
    told = [json.loads(line) for stream in (out, err) for line in stream.getvalue().splitlines() if _is_json(line)]
    error: dict[str, Any] = next((t for t in told if "code" in t), {})
    return {"status": status, **{key: error[key] for key in ("code", "message", "feature", "since") if key in error}}


def _is_json(line: str) -> bool:
    return line.startswith("{") and line.endswith("}")


def _remove_pins() -> list[str]:
    """Remove the maps that were pinned by their own wish; return what else is left."""
    left = []
    for path in sorted(BPFFS.rglob("*"), reverse=True):
        if path.suffix == ".debug":
            continue
        if path.is_relative_to(BPFFS / "checked"):
            left.append(str(path))
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    return left


def compare(here: Outcome, there: Outcome) -> tuple[list[str], list[str]]:
    """Return what a guest refuses for a feature it lacks, and every other difference."""
    lacks, differs = [], []
    for name, wanted in here["objects"].items():
        found = there["objects"].get(name, {})
        if found.get("load", {}).get("code") == _MISSING and wanted["load"]["status"] == 0:
            lacks.append(f"{name}: {found['load']['message']}")
        elif found.get("load", {}).get("status") == 0 and wanted["load"].get("code") == _REFUSED:
            continue  # a machine may refuse its users what its kernel has, such as tracing programs
        elif _essence(found) != _essence(wanted):
            differs.append(f"{name}: here {_essence(wanted)}, there {_essence(found)}: {found.get('load')}")
    return lacks, differs


def _essence(outcome: Outcome) -> tuple[object, ...]:
    commands = (outcome.get(command, {}) for command in ("load", "unload", "explain"))
    return (*((c.get("status"), c.get("code")) for c in commands), outcome.get("left"))


def main() -> int:
    """Print the outcome on one line after MARK."""
    parser = argparse.ArgumentParser(prog="tools.vm.checks", description=__doc__)
    parser.add_argument("--sandbox", action="store_true", help="in namespaces of its own with a fresh bpffs")
    if parser.parse_args().sandbox:
        enter_namespaces()
        mount("bpf", str(BPFFS), "mode=0700")
    print(MARK + json.dumps(check_all()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
