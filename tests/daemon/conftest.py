"""What tests of several modules of the control socket start from."""

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a control socket may be made."""
    tmp_path.chmod(0o700)
    return tmp_path / "control"
