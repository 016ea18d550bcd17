"""`xdploaderctl load` as the tests of it and of what it loaded call it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import sandbox
from tests.support.old_kernel import skip_if_told_lacking
from xdploaderd.cli.main import main

Capture = pytest.CaptureFixture[str]
OBJECTS = Path(__file__).parents[1] / "bpf"
BPFFS = Path("/sys/fs/bpf")
DIR = BPFFS / "app"


def load_cli(capsys: Capture, conf: str, name: str, *argv: str) -> tuple[int, Any, str]:
    """Load tests/bpf/NAME into DIR; return the exit status, the report if there is one, and standard error."""
    status = main(["load", str(OBJECTS / name), str(DIR), "--json", "--pinning", conf, *argv])
    captured = capsys.readouterr()
    skip_if_told_lacking(status, captured.err)
    return status, json.loads(captured.out) if captured.out else None, captured.err


def pinned_tree() -> set[str]:
    """Return all pins, as paths below the file system's root."""
    return {name.removeprefix(f"{BPFFS}/") for name in sandbox.pin_tree()} - {"maps.debug", "progs.debug"}
