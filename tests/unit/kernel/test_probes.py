import errno

import pytest

from tests.fakes.bpf import FakeBpf, fail_with
from xdploaderd.kernel.attr import BtfLoadAttr
from xdploaderd.kernel.bpf import Answer, Bpf
from xdploaderd.kernel.probe_btf import BTF_FEATURES
from xdploaderd.kernel.probes import PREPARE_FEATURES, probe, probe_features
from xdploaderd.uapi.bpf import BpfCmd, Feature


def test_answers_are_kept() -> None:
    fake = FakeBpf()
    bpf = Bpf(fake)
    assert probe(bpf, Feature.GLOBAL_DATA) is Answer.YES
    count = len(fake.calls)
    assert probe(bpf, Feature.GLOBAL_DATA) is Answer.YES
    assert len(fake.calls) == count


def test_one_blob_settles_all_btf_features_of_a_recent_kernel() -> None:
    fake = FakeBpf()
    bpf = Bpf(fake)
    assert probe_features(bpf, BTF_FEATURES) == frozenset(BTF_FEATURES)
    assert fake.commands() == [BpfCmd.BTF_LOAD]


def test_each_btf_feature_is_asked_for_on_an_older_kernel() -> None:
    def only_small(attr: BtfLoadAttr) -> int:
        if attr.btf_size > 60:
            raise OSError(errno.EINVAL, "")
        return FakeBpf()(BpfCmd.BTF_LOAD, attr)

    bpf = Bpf(FakeBpf({BpfCmd.BTF_LOAD: only_small}))
    answers = {feature: probe(bpf, feature) for feature in BTF_FEATURES}
    assert answers[Feature.BTF] is Answer.YES
    assert answers[Feature.BTF_DATASEC] is Answer.NO


@pytest.mark.parametrize(("code", "answer"), [(errno.EPERM, Answer.UNKNOWN), (errno.EINVAL, Answer.NO)])
def test_a_refusal_for_want_of_rights_says_nothing(code: int, answer: Answer) -> None:
    bpf = Bpf(FakeBpf({BpfCmd.BTF_LOAD: fail_with(code), BpfCmd.PROG_LOAD: fail_with(code)}))
    assert probe(bpf, Feature.BTF_FLOAT) is answer
    assert probe(bpf, Feature.MEMCG_ACCOUNT) is answer


def test_unknown_features_count_as_present() -> None:
    denied = fail_with(errno.EPERM)
    bpf = Bpf(FakeBpf({BpfCmd.BTF_LOAD: denied, BpfCmd.PROG_LOAD: denied, BpfCmd.MAP_CREATE: denied}))
    assert probe_features(bpf) == frozenset(PREPARE_FEATURES)
