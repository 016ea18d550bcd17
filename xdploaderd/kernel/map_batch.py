"""Many elements of a map in one bpf(2) call (libbpf bpf_map_lookup_batch, bpf_map_update_batch; Linux 5.6).

Which types of maps take these commands differs from release to release, so that every caller has a way without.
"""

import errno
from collections.abc import Iterator
from typing import NamedTuple

from xdploaderd.kernel.attr import MapBatchAttr, make_buffer, pointer_of, pointer_to
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.syscall import Fd
from xdploaderd.uapi.bpf import BpfCmd

_CURSOR_MIN = 8  # bytes: hash maps give the number of a bucket, others a key
_BYTES_MAX = 64 << 20  # of one batch: a bucket that holds more is not read


class Batch(NamedTuple):
    """Keys and values of some elements, one after the other."""

    length: int
    keys: bytes
    values: bytes


def update_batch(bpf: Bpf, fd: Fd, batch: Batch) -> bool:
    """Set elements; False when not all were set, for whatever reason: setting them one by one tells it."""
    attr = MapBatchAttr(
        map_fd=fd.fileno(), keys=pointer_to(batch.keys), values=pointer_to(batch.values), count=batch.length
    )
    try:
        bpf.call(BpfCmd.MAP_UPDATE_BATCH, attr)
    except OSError:
        return False
    return int(attr.count) == batch.length


def lookup_batches(bpf: Bpf, fd: Fd, key_size: int, value_size: int, count: int) -> Iterator[Batch]:
    """Yield all elements, about `count` at a time. Raises OSError when the kernel cannot, or not to the end."""
    cursor, following = make_buffer(max(key_size, _CURSOR_MIN)), make_buffer(max(key_size, _CURSOR_MIN))
    started = False
    while True:
        keys, values = make_buffer(count * key_size), make_buffer(count * value_size)
        attr = MapBatchAttr(
            in_batch=pointer_of(cursor) if started else 0,
            out_batch=pointer_of(following),
            keys=pointer_of(keys),
            values=pointer_of(values),
            count=count,
            map_fd=fd.fileno(),
        )
        more = True
        try:
            bpf.call(BpfCmd.MAP_LOOKUP_BATCH, attr)
        except OSError as error:
            if error.errno == errno.ENOSPC and count * (key_size + value_size) < _BYTES_MAX:
                count *= 2  # a bucket holds more than that
                continue
            if error.errno != errno.ENOENT:
                raise
            more = False
        found = int(attr.count)
        yield Batch(found, keys.raw[: found * key_size], values.raw[: found * value_size])
        if not more:
            return
        cursor, following, started = following, cursor, True
