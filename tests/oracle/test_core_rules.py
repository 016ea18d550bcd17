"""Each rule of CO-RE on a pair of types of its own: the lines, instructions and refusals of libbpf."""

from pathlib import Path

import pytest

from tests.support.core_pairs import Counts, compare_with_libbpf
from tests.support.core_rule import Rule
from tests.support.core_rules import RULES
from xdploaderd.kernel.known import target_from_file
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare

pytestmark = pytest.mark.oracle


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rule_is_libbpfs(rule: Rule, tmp_path: Path) -> None:
    local, target = rule.build(tmp_path)
    ours = prepare(open_object(local.read_bytes(), name="local.o"), target_from_file(target), partial=True)
    counts = Counts()
    compare_with_libbpf(local, ours, target, counts)
    assert counts.different == []
    assert (counts.equal, counts.refused) == ((0, 1) if rule.refused else (1, 0))


def test_there_are_enough_pairs_with_names_of_their_own() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES) >= 60
