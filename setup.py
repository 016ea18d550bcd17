"""Puts the files that a system needs (units, examples, manual pages) into the wheel, as xdploaderd/data."""

from pathlib import Path
from shutil import copytree

from setuptools import setup
from setuptools.command.build_py import build_py

DATA = ("systemd", "config", "etc", "docs")  # xdploaderd/install.py finds them here in a checkout


class BuildWithData(build_py):
    """Copy DATA beside the modules; an editable installation reads them from the checkout."""

    def run(self) -> None:
        """Build as usual, then copy."""
        super().run()
        if not self.editable_mode:
            here, data = Path(__file__).parent, Path(self.build_lib, "xdploaderd", "data")
            for name in DATA:
                copytree(here / name, data / name, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithData})
