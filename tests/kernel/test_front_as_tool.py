"""`ip` as a link to our command: XDP is ours, everything else passes to the real tool untouched."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support import sandbox
from tests.support.netns import Veth, ip, veth_pair

pytestmark = pytest.mark.kernel
ROOT = Path(__file__).parents[2]
PASS = str(ROOT / "tests/bpf/xdp_pass.bpf.o")


@pytest.fixture
def environ(tmp_path: Path) -> Mapping[str, str]:
    """Return an environment whose PATH begins with links to our command, as an installation makes them."""
    command = tmp_path / "xdploaderctl"
    command.write_text(
        f"#!/bin/sh\n'''exec' \"{sys.executable}\" \"$0\" \"$@\"\n' '''\n"  # as pip does where the path has a blank
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from xdploaderd.cli.main import main\nsys.exit(main())\n"
    )
    command.chmod(0o755)
    links = tmp_path / "links"
    links.mkdir()
    for tool in ("ip", "tc"):
        (links / tool).symlink_to(command)
    return {**os.environ, "PATH": f"{links}:{os.environ['PATH']}"}


@pytest.fixture
def veth(_no_kernel_leak: None) -> Iterator[Veth]:
    with veth_pair() as pair:
        yield pair
    sandbox.clear_pins()


@pytest.mark.parametrize(
    "words",
    [
        ("ip", "link", "show", "lo"),
        ("ip", "-V"),
        ("ip", "-j", "addr"),
        ("ip", "link", "show", "nosuch0"),
        ("ip", "nonsense"),
        ("ip", "netns", "exec", "nosuch", "true"),
        ("tc", "qdisc", "show"),
        ("tc", "filter", "show", "dev", "nosuch0"),
        ("tc", "nonsense"),
        ("ip", "-b", "-"),
    ],
    ids=" ".join,
)
def test_other_commands_are_the_real_tools(environ: Mapping[str, str], words: tuple[str, ...]) -> None:
    text = "link show lo\n# nothing\nlink show nosuch0\n"
    real = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    ours = subprocess.run(words, env=environ, input=text, capture_output=True, text=True, check=False)
    assert (ours.returncode, ours.stdout) == (real.returncode, real.stdout)
    if "-b" not in words:
        assert ours.stderr == real.stderr


def test_xdp_is_ours_under_the_tools_name(veth: Veth, environ: Mapping[str, str]) -> None:
    command = ("ip", "link", "set", "dev", "veth0", "xdp", "obj", PASS)  # without a section: the real one refuses
    subprocess.run(command, env=environ, check=True)
    assert "name xdp_pass" in ip("link", "show", "veth0")
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("ip: AttachFailed: xdp hook of 'veth0'")
    subprocess.run(("ip", "link", "set", "dev", "veth0", "mtu", "1400", "xdp", "off"), env=environ, check=True)
    assert "prog/xdp" not in ip("link", "show", "veth0")


def test_help_of_a_link_is_the_tools(environ: Mapping[str, str]) -> None:
    done = subprocess.run(("ip", "--help"), env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, "OBJECT" in done.stderr) == (255, True)
