"""One boot of a guest: its serial line read as it comes, its exit status told in words on that line."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from threading import Timer

# No hardware acceleration: it must work on machines that have none. A CPU without RDRAND would keep Python waiting for
# entropy, and without cmpxchg16b new kernels have no memory for arenas (kmalloc_nolock). A busy host delays the timer's
# first interrupts until old kernels take it for broken: they are not to look. Programs at the same address in every
# process let the emulator use again what it has translated. Wide vectors, a fifth level of page tables and guarded
# accesses are slower to emulate than to do without: a fifth of all time.
_CPU = "max,-avx,-avx2,-la57,-smap"
_MACHINE = f"-accel tcg -cpu {_CPU} -m 1280 -smp 1 -nodefaults -no-user-config -display none -no-reboot -monitor none"
_CMDLINE = "console=ttyS0 quiet panic=-1 rdinit=/init tsc=reliable mitigations=off no_timer_check norandmaps"
_STATUS = re.compile(r"GUEST-EXIT=(\d+)")


def boot(kernel: Path, initramfs: Path, *, seconds: float, show: Callable[[str], None]) -> int | None:
    """Boot, give each line of the serial port to `show`, return the guest's exit status; None when it told none."""
    argv = ["qemu-system-x86_64", *_MACHINE.split(), "-serial", "stdio"]
    argv += ["-kernel", str(kernel), "-initrd", str(initramfs), "-append", _CMDLINE]
    status = None
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as guest:
        assert guest.stdout is not None
        limit = Timer(seconds, guest.kill)
        limit.start()
        try:
            for raw in guest.stdout:
                line = raw.decode(errors="backslashreplace").rstrip("\r\n")
                if found := _STATUS.search(line):
                    status = int(found[1])
                else:
                    show(line)
        finally:
            limit.cancel()
            guest.kill()
    return status
