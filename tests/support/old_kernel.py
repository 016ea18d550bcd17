"""Tests on a kernel that lacks features (tools.vm): what is refused for that reason is skipped, and nowhere else."""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

import pytest

from xdploaderd.errors import FeatureMissingError

# Set in guests only: on the reference kernel a missing feature fails the test.
MAY_LACK_FEATURES = os.environ.get("XDPLOADERD_TEST_MAY_LACK_FEATURES") == "1"


def fails_before(release: str, reason: str) -> pytest.MarkDecorator:
    """Return the mark of a test whose claim holds since that Linux: in guests that are older it must fail."""
    older = MAY_LACK_FEATURES and _numbers(os.uname().release) < _numbers(release)
    return pytest.mark.xfail(older, reason=f"since Linux {release}: {reason}", strict=True)


def skip_before(release: str, what: str) -> None:
    """Skip the running test, whose kernel was found to lack something; it fails where nothing may be missing."""
    text = f"this kernel has no {what}, want Linux {release} or newer"
    if not MAY_LACK_FEATURES:
        pytest.fail(text)
    pytest.skip(text)


def skip_if_lacking(error: FeatureMissingError) -> None:
    """Skip the running test where a feature may be missing."""
    if MAY_LACK_FEATURES:
        pytest.skip(str(error))


def skip_if_told_lacking(status: int, text: str) -> None:
    """Skip when a command line printed the JSON of a FeatureMissingError."""
    if MAY_LACK_FEATURES and status == FeatureMissingError.exit_status:
        told: Mapping[str, Any] = json.loads(text)
        if told["code"] == FeatureMissingError.code:
            pytest.skip(told["message"])


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", release)[:2])
