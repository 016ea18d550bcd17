"""What section names say of programs: the rows of the table, and what is in none."""

import pytest

from xdploaderd.obj.sections import find_sec_def
from xdploaderd.uapi.bpf import AttachType, ProgType

FRAGS, SLEEPABLE = 0x20, 0x10


@pytest.mark.parametrize(
    ("section", "prog_type", "attach_type", "flags"),
    [
        ("xdp", ProgType.XDP, AttachType.XDP, 0),
        ("xdp.frags", ProgType.XDP, AttachType.XDP, FRAGS),
        ("xdp/devmap", ProgType.XDP, AttachType.XDP_DEVMAP, 0),
        ("xdp.frags/devmap", ProgType.XDP, AttachType.XDP_DEVMAP, FRAGS),
        ("xdp/cpumap", ProgType.XDP, AttachType.XDP_CPUMAP, 0),
        ("xdp.frags/cpumap", ProgType.XDP, AttachType.XDP_CPUMAP, FRAGS),
        ("tc/ingress", ProgType.SCHED_CLS, AttachType.TCX_INGRESS, 0),
        ("tcx/egress", ProgType.SCHED_CLS, AttachType.TCX_EGRESS, 0),
        ("tc", ProgType.SCHED_CLS, None, 0),
        ("classifier", ProgType.SCHED_CLS, None, 0),
        ("action", ProgType.SCHED_ACT, None, 0),
        ("syscall", ProgType.SYSCALL, None, SLEEPABLE),
        ("sk_skb", ProgType.SK_SKB, None, 0),
        ("sk_skb/verdict", ProgType.SK_SKB, AttachType.SK_SKB_VERDICT, 0),
        ("cgroup/getsockname6", ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET6_GETSOCKNAME, 0),
        ("lirc_mode2", ProgType.LIRC_MODE2, AttachType.LIRC_MODE2, 0),
    ],
)
def test_row_of_the_table(section: str, prog_type: ProgType, attach_type: AttachType | None, flags: int) -> None:
    match = find_sec_def(section)
    assert match is not None
    assert match.source == "section table"
    assert (match.sec_def.prog_type, match.sec_def.attach_type, match.sec_def.prog_flags) == (
        prog_type, attach_type, flags,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("section", "target", "flags"),
    [
        ("fentry/tcp_v4_connect", "tcp_v4_connect", 0),
        ("fentry", "", 0),
        ("fexit.s/mod:func", "mod:func", SLEEPABLE),
        ("lsm.s/bprm/check", "bprm/check", SLEEPABLE),
        ("iter.s/task", "task", SLEEPABLE),
        ("freplace/main", "main", 0),
    ],
)
def test_names_with_a_target(section: str, target: str, flags: int) -> None:
    match = find_sec_def(section)
    assert match is not None
    assert match.sec_def.btf_target
    assert (match.target, match.sec_def.prog_flags, match.source) == (target, flags, "section table")


@pytest.mark.parametrize(
    ("section", "prog_type", "attach_type"),
    [
        ("xdp/foo", ProgType.XDP, AttachType.XDP),
        ("xdp_foo", ProgType.XDP, AttachType.XDP),
        ("xdp_devmap/map_prog", ProgType.XDP, AttachType.XDP_DEVMAP),
        ("xdp.frags/foo", ProgType.XDP, AttachType.XDP),
        ("classifier/x", ProgType.SCHED_CLS, None),
        ("tc_main", ProgType.SCHED_CLS, None),
        ("action_one", ProgType.SCHED_ACT, None),
    ],
)
def test_prefixes_of_libbpf_before_1_0(section: str, prog_type: ProgType, attach_type: AttachType | None) -> None:
    match = find_sec_def(section)
    assert match is not None
    assert match.source == "section prefix"
    assert (match.sec_def.prog_type, match.sec_def.attach_type) == (prog_type, attach_type)


@pytest.mark.parametrize("section", ["XDP", "sockops/x", "sk_lookup/", "prog", "0xabc/0", "", "fentryx"])
def test_names_that_say_nothing(section: str) -> None:
    assert find_sec_def(section) is None
