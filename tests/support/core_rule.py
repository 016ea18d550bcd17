"""A pair of C types, local and target, that shows one rule of CO-RE; compiled by clang."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.tools import tool

_HEADERS = Path(__file__).parents[1] / "bpf"
_LOCAL = """#include "core/core_defs.h"
char _license[] SEC("license") = "GPL";
%(types)s
SEC("xdp")
int p(struct xdp_md *ctx)
{
	%(setup)s
	return %(asked)s;
}
"""


@dataclass(frozen=True)
class Rule:
    """One pair: `types` as the program knows them, `target` as the kernel has them, `asked` of `kept` ones."""

    name: str
    types: str
    target: str
    asked: str
    refused: bool = False
    setup: str = ""

    def build(self, folder: Path) -> tuple[Path, Path]:
        """Compile both; return (local object, target object)."""
        local = _LOCAL % {"types": self.types, "setup": self.setup, "asked": self.asked}
        target = f'#include "core/core_defs.h"\n{self.target}\n'
        return _compiled(folder / "local", local), _compiled(folder / "target", target)


def _compiled(stem: Path, source: str) -> Path:
    stem.with_suffix(".c").write_text(source)
    made = stem.with_suffix(".o")
    flags = (
        "-O2",
        "-g",
        "-target",
        "bpf",
        "-mcpu=v2",
        "-w",
        f"-I{_HEADERS}",
        "-idirafter",
        "/usr/include/x86_64-linux-gnu",
    )
    subprocess.run([tool("clang-19"), *flags, "-c", stem.with_suffix(".c"), "-o", made], check=True)
    return made
