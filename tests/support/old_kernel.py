"""Tests on a kernel that lacks features (tools.vm): what it is too old for is skipped, and nothing else is."""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

import pytest

from xdploaderd.errors import FeatureMissingError

# Set in guests only: on the reference kernel a missing feature fails the test.
MAY_LACK_FEATURES = os.environ.get("XDPLOADERD_TEST_MAY_LACK_FEATURES") == "1"


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", release)[:2])


def older_than(release: str) -> bool:
    """Tell whether the running kernel may lack what came with that Linux: no reference kernel may.

    What a kernel of that age refuses nevertheless is a fault, ours or of its configuration.
    """
    return MAY_LACK_FEATURES and _numbers(os.uname().release) < _numbers(release)


def fails_before(release: str, reason: str) -> pytest.MarkDecorator:
    """Return the mark of a test whose claim holds since that Linux: in guests that are older it must fail."""
    return pytest.mark.xfail(older_than(release), reason=f"since Linux {release}: {reason}", strict=True)


def needs(release: str, what: str) -> pytest.MarkDecorator:
    """Return the mark of a test of something that came with that Linux: in guests that are older it is skipped."""
    return pytest.mark.skipif(older_than(release), reason=f"{what}: since Linux {release}")


NEEDS_ATOMICS = needs("5.12", "atomic instructions but adding (stamp_check.bpf.o)")
NEEDS_BLOOM_FILTER = needs("5.16", "map of type bloom_filter (std_maps.bpf.o)")
NEEDS_TCX = needs("6.6", "links on tc hooks (TCX)")


def skip_before(release: str, what: str) -> None:
    """Skip the running test, whose kernel was found to lack something; it fails where that may not be missing."""
    text = f"this kernel has no {what}, want Linux {release} or newer"
    if not older_than(release):
        pytest.fail(text)
    pytest.skip(text)


def skip_if_lacking(error: FeatureMissingError) -> None:
    """Skip the running test where the kernel is older than the release that the error names."""
    if older_than(str(error.fields["since"])):
        pytest.skip(str(error))


def skip_if_told_lacking(status: int, text: str) -> None:
    """Skip when a command line printed the JSON of a FeatureMissingError."""
    if MAY_LACK_FEATURES and status == FeatureMissingError.exit_status:
        told: Mapping[str, Any] = json.loads(text)
        if told["code"] == FeatureMissingError.code and older_than(told["since"]):
            pytest.skip(told["message"])
