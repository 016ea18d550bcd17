"""Facts of the running kernel, judged by what bpftool, uname and the kernel's own files say."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.old_kernel import older_than
from xdploaderd.btf.types import BtfKind
from xdploaderd.kernel.bpf import Answer, Bpf
from xdploaderd.kernel.modules import module_btfs
from xdploaderd.kernel.probe_btf import probe_blob
from xdploaderd.kernel.probes import probe
from xdploaderd.kernel.target import running_kernel
from xdploaderd.obj.spec import Need
from xdploaderd.uapi.bpf import Feature

pytestmark = pytest.mark.kernel
SINCE = {
    Feature.ARRAY_MMAP: "5.5",
    Feature.BTF_GLOBAL_FUNC: "5.6",
    Feature.XDP_LINK: "5.9",
    Feature.PROG_BIND_MAP: "5.10",
    Feature.MEMCG_ACCOUNT: "5.11",
    Feature.MODULE_BTF: "5.11",
    Feature.BTF_FLOAT: "5.13",
    Feature.BPF_COOKIE: "5.15",
    Feature.BTF_DECL_TAG: "5.16",
    Feature.BTF_TYPE_TAG: "5.17",
    Feature.XDP_FRAGS: "5.18",
    Feature.BTF_ENUM64: "6.0",
    Feature.TCX: "6.6",
    Feature.ARG_CTX_TAG: "6.8",
    Feature.BTF_QMARK_DATASEC: "6.10",
}


def test_only_what_is_needed_is_read() -> None:
    target = running_kernel(Bpf(), frozenset())
    assert target.btfs == ()
    assert target.kconfig is None
    assert target.kallsyms is None
    assert target.release == os.uname().release
    assert target.nr_cpus >= len(os.sched_getaffinity(0))


def test_tracing_features_are_probed_only_when_needed() -> None:
    bpf = Bpf()
    assert Feature.SYSCALL_WRAPPER not in running_kernel(bpf, frozenset()).features
    assert Feature.SYSCALL_WRAPPER not in bpf.answers
    assert Feature.SYSCALL_WRAPPER in running_kernel(bpf, frozenset({Need.TRACING_FEATURES})).features


def test_vmlinux_btf_is_read_once_and_has_the_kernels_types() -> None:
    first = running_kernel(Bpf(), frozenset({Need.VMLINUX_BTF})).btfs[0]
    second = running_kernel(Bpf(), frozenset({Need.MODULE_BTF})).btfs[0]
    assert first is second
    assert len(first.ids_by_name("sk_buff", {BtfKind.STRUCT})) == 1


def test_kconfig_and_kallsyms_are_those_of_the_kernel() -> None:
    target = running_kernel(Bpf(), frozenset({Need.KCONFIG, Need.KALLSYMS}))
    assert "CONFIG_BPF_SYSCALL=y" in (target.kconfig or "")
    assert " T bpf_map_new_fd\n" in (target.kallsyms or "") or " t bpf_map_new_fd\n" in (target.kallsyms or "")


def test_modules_with_btf_are_those_of_sysfs() -> None:
    names = []
    for info, fd in module_btfs(Bpf()):
        names.append(info.name)
        fd.close()
    assert sorted(names) == sorted(path.name for path in Path("/sys/kernel/btf").iterdir() if path.name != "vmlinux")


def test_this_kernel_has_every_feature_that_it_is_not_too_old_for() -> None:
    bpf = Bpf()
    wanted = {feature: Answer.NO if older_than(SINCE.get(feature, "5.4")) else Answer.YES for feature in Feature}
    assert {feature: probe(bpf, feature) for feature in Feature} == wanted


def test_btf_read_back_is_the_one_loaded() -> None:
    bpf = Bpf()
    blob = probe_blob(Feature.BTF)
    with bpf.btf_load(blob) as fd:
        info = bpf.btf_info(fd)
        assert not info.kernel
        assert bpf.btf_raw(fd) == blob
        listed = subprocess.run(["bpftool", "btf", "list"], check=True, capture_output=True, text=True).stdout
        assert f"{info.id}: " in listed
