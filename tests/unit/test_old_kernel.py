"""Which tests a guest may skip: those of what its kernel is too old for."""

import json
import os

import pytest

from tests.support import old_kernel
from xdploaderd.errors import FeatureMissingError

TCX = FeatureMissingError("this kernel does not know TCX", feature="tcx", since="6.6")
TOLD = json.dumps(TCX.to_json())


def kernel(monkeypatch: pytest.MonkeyPatch, release: str, *, guest: bool = True) -> None:
    """Make this a guest, or the reference machine, with a kernel of that release."""
    monkeypatch.setattr(old_kernel, "MAY_LACK_FEATURES", guest)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "guest", release, "", "x86_64")))


@pytest.mark.parametrize("release", ["5.10.0-46-cloud-amd64", "6.5.13", "6.1.0-56"])
def test_what_came_later_is_skipped_with_the_refusal(monkeypatch: pytest.MonkeyPatch, release: str) -> None:
    kernel(monkeypatch, release)
    with pytest.raises(pytest.skip.Exception, match="this kernel does not know TCX"):
        old_kernel.skip_if_lacking(TCX)
    with pytest.raises(pytest.skip.Exception, match="this kernel does not know TCX"):
        old_kernel.skip_if_told_lacking(TCX.exit_status, TOLD)
    with pytest.raises(pytest.skip.Exception, match=r"no netkit, want Linux 6\.7"):
        old_kernel.skip_before("6.7", "netkit")


@pytest.mark.parametrize("release", ["6.6.0", "6.12.117+deb13", "7.2.13", "10.0"])
def test_what_the_kernel_is_old_enough_for_is_not_skipped(monkeypatch: pytest.MonkeyPatch, release: str) -> None:
    kernel(monkeypatch, release)
    old_kernel.skip_if_lacking(TCX)
    old_kernel.skip_if_told_lacking(TCX.exit_status, TOLD)
    with pytest.raises(pytest.fail.Exception, match="no TCX"):
        old_kernel.skip_before("6.6", "TCX")


def test_error_that_names_no_release_is_not_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(monkeypatch, "5.10.0")
    old_kernel.skip_if_lacking(FeatureMissingError("module 'x' is not loaded", feature="module_btf"))


def test_nothing_is_skipped_outside_of_guests(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(monkeypatch, "5.10.0", guest=False)
    old_kernel.skip_if_lacking(TCX)
    old_kernel.skip_if_told_lacking(TCX.exit_status, TOLD)
    assert not old_kernel.older_than("6.6")
