"""Fetch Debian's kernels and take their BTF: `./dev kernels [DIR] [SERIES...]`.

DIR/VERSION.btf is the kernel's BTF, out of its image by our own reader; `./dev vm` shares what is fetched. The tests
against other kernels' BTF read .cache/kernels, or where XDPLOADERD_KERNELS says.
"""

import argparse
import sys
from pathlib import Path

from tools.ending import end_with
from tools.vm import debian
from xdploaderd.errors import LoaderError
from xdploaderd.kernel.btf_file import read_btf_file

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGES = CHECKOUT / ".cache/vm"
SERIES = ("5.10", "6.1", "6.12", debian.NEWEST)


def main() -> int:
    """Fetch each series and write its BTF; exit status 1 when one is not to be had."""
    parser = argparse.ArgumentParser(prog="./dev kernels", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=CHECKOUT / ".cache/kernels", help="%(default)s")
    parser.add_argument("series", nargs="*", default=SERIES, help=f"a series or a whole version (default: {SERIES})")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    apt = debian.Apt(PACKAGES / "apt")
    apt.update()
    kernels = apt.kernels()
    return 1 if [series for series in args.series if not _take(apt, kernels, series, args.folder)] else 0


def _take(apt: debian.Apt, kernels: dict[str, list[str]], series: str, folder: Path) -> bool:
    version = debian.pick(kernels, series)
    if version is None:
        print(f"kernels: Debian serves no kernel {series}", file=sys.stderr)
        return False
    out = folder / f"{version}.btf"
    if not out.exists():
        image = next(debian.fetch(apt, kernels, version, PACKAGES).rglob("vmlinuz*"))
        try:
            out.write_bytes(read_btf_file(image))
        except LoaderError as error:
            print(f"kernels: {error}", file=sys.stderr)
            return False
    print(f"{out}: {out.stat().st_size} bytes")
    return True


if __name__ == "__main__":
    end_with(main)
