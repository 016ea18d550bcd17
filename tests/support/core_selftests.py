"""The kernel's own CO-RE selftests, compiled outside of the repository: local programs and the types they meet."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.tools import corpus, tool

VERSIONS = ("6.1", "6.12")
_PROGS = "tools/testing/selftests/bpf/progs"
_LOCAL = re.compile(r"test_core_reloc_(\w+?)(?:_direct|_probed)?\.c")
_KERNELS_OWN = frozenset({"kernel", "module"})  # against a running kernel, not against types of the tests


def pairs(version: str) -> Iterator[tuple[Path, Path]]:
    """Yield (local object, target object) of every pair that has types in common; compiles what is missing."""
    tree = corpus().parent / f"linux-source-{version}"
    out = corpus().parent / f"core-{version}"
    out.mkdir(exist_ok=True)
    for source in sorted((tree / _PROGS).glob("test_core_reloc_*.c")):
        match = _LOCAL.fullmatch(source.name)
        if match is None or match[1] in _KERNELS_OWN:
            continue
        local = compiled(tree, source, out)
        for target in sorted((tree / _PROGS).glob(f"btf__core_reloc_{match[1]}*.c")):
            if target.stem == f"btf__core_reloc_{match[1]}" or f"_{match[1]}___" in target.stem:
                yield local, compiled(tree, target, out)


def compiled(tree: Path, source: Path, out: Path) -> Path:
    """Return the object of a source, made by clang-19 when it is not there yet."""
    made = out / f"{source.stem}.o"
    if not made.exists():
        selftests = tree / _PROGS / ".."
        folders = (tree / _PROGS, selftests, tree / "tools/include", tree / "inc", tree / "tools/include/uapi")
        subprocess.run(
            [
                tool("clang-19"),
                *("-O2", "-g", "-target", "bpf", "-mcpu=v3", "-std=gnu11", "-w", "-D__TARGET_ARCH_x86"),
                *(f"-I{folder}" for folder in folders),
                *("-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu"),
                *("-c", source, "-o", made),
            ],
            check=True,
        )
    return made
