"""docs/reliability.md: every test that a claim of the daemon names exists."""

import re

from tests.unit.test_conformance import ROOT, exists

CLAIM = re.compile(r"^\| ([^|]+) \| ([^|]+::[^|]+) \|$", re.MULTILINE)


def test_each_claim_names_tests_that_exist() -> None:
    claims = CLAIM.findall((ROOT / "docs" / "reliability.md").read_text())
    assert len(claims) > 25
    missing = [name for _, tests in claims for name in tests.split(", ") if not exists(name)]
    assert missing == []
