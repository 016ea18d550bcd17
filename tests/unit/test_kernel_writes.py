"""What counts as a change of the kernel in a trace of strace(1)."""

from pathlib import Path

import pytest

from tests.support.kernel_writes import kernel_writes

QUIET = r"""867   sendto(7<socket:[5757]>, "\0", 1, 0, NULL, 0) = 1
865   bpf(BPF_OBJ_GET, {pathname="/sys/fs/bpf/xdploaderd/edge/prog", bpf_fd=0, file_flags=0}, 16) = 9
867   sendto(8<socket:[19]>, [{nlmsg_len=40, nlmsg_type=RTM_GETLINK}, {ifi_index=0}], 40, 0, NULL, 0) = 40
867   sendto(11<socket:[20]>, "{\"parameters\": {}}\0", 20, 0, NULL, 0) = 20
"""
CHANGE = "867   sendto(8<socket:[19]>, [{nlmsg_len=40, nlmsg_type=RTM_SETLINK}], 40, 0, NULL, 0) = 40"


def test_only_changes_are_counted(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.write_text(QUIET + CHANGE + "\n")
    assert kernel_writes(trace) == [CHANGE]


@pytest.mark.parametrize("message", [r"(\0\0\0\22\0\1\3", r"\24\0\0\0\22\0\1\3"])
def test_trace_that_does_not_tell_netlink_messages_is_refused(tmp_path: Path, message: str) -> None:
    trace = tmp_path / "trace"
    trace.write_text(f'{QUIET}867   sendto(8<socket:[19]>, "{message}", 40, 0, NULL, 0) = 40\n')
    with pytest.raises(AssertionError, match="netlink_diag"):
        kernel_writes(trace)
