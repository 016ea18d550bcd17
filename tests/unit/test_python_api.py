"""docs/python-api.md says what happens: its examples are run, and what they import is what the interface has."""

import doctest
import re
import shutil
from pathlib import Path

import pytest

from xdploaderd import api

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "python-api.md").read_text()
VMLINUX = Path("/sys/kernel/btf/vmlinux")


def test_examples_of_the_page_give_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "tests" / "bpf" / "demo_xdp.bpf.o", tmp_path / "filter.o")
    (tmp_path / "kernel.btf").write_bytes(VMLINUX.read_bytes())
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "python-api.md", None, 0)
    told: list[str] = []
    results = doctest.DocTestRunner(verbose=False).run(test, out=told.append)
    assert not results.failed, "".join(told)
    assert results.attempted > 15


def test_interface_is_whole() -> None:
    assert sorted(api.__all__) == api.__all__
    for name in api.__all__:
        assert getattr(api, name).__doc__, name
