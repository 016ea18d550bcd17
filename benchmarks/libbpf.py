"""libbpf through ctypes, for the other side of each pair."""

import ctypes
import ctypes.util


def library() -> ctypes.CDLL:
    """Return libbpf.so.1 with its messages silenced and its pointers typed."""
    lib = ctypes.CDLL(ctypes.util.find_library("bpf") or "libbpf.so.1", use_errno=True)
    lib.libbpf_set_print.argtypes = [ctypes.c_void_p]
    lib.libbpf_set_print(None)  # a callback would be called for each debug message, which is most of an opening
    for name in ("bpf_object__open_file", "btf__parse"):
        getattr(lib, name).restype = ctypes.c_void_p
    lib.bpf_object__open_file.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    lib.bpf_object__load.argtypes = [ctypes.c_void_p]
    lib.bpf_object__close.argtypes = [ctypes.c_void_p]
    lib.btf__parse.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    lib.btf__free.argtypes = [ctypes.c_void_p]
    lib.btf__find_by_name_kind.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32]
    return lib


class _OpenOptions(ctypes.Structure):
    """struct bpf_object_open_opts up to btf_custom_path."""

    _fields_ = [
        ("sz", ctypes.c_size_t),
        ("object_name", ctypes.c_char_p),
        ("relaxed_maps", ctypes.c_bool),
        ("pin_root_path", ctypes.c_char_p),
        ("_unused", ctypes.c_uint32),
        ("kconfig", ctypes.c_char_p),
        ("btf_custom_path", ctypes.c_char_p),
    ]


def open_only(lib: ctypes.CDLL, path: str) -> None:
    """Open and close one object; RuntimeError when libbpf refuses."""
    obj = lib.bpf_object__open_file(path.encode(), None)
    if not obj:
        raise RuntimeError(f"libbpf refuses {path}: errno {ctypes.get_errno()}")
    lib.bpf_object__close(obj)


def open_and_load(lib: ctypes.CDLL, path: str, *, btf: str | None = None) -> None:
    """Open, load and close one object, relocated for the kernel or for the BTF file; RuntimeError when refused."""
    options = _OpenOptions(sz=ctypes.sizeof(_OpenOptions), btf_custom_path=btf.encode() if btf else None)
    obj = lib.bpf_object__open_file(path.encode(), ctypes.byref(options))
    if not obj or lib.bpf_object__load(obj):
        raise RuntimeError(f"libbpf refuses {path}: errno {ctypes.get_errno()}")
    lib.bpf_object__close(obj)


def parse_btf(lib: ctypes.CDLL, path: str) -> None:
    """Parse and free a BTF file."""
    lib.btf__free(lib.btf__parse(path.encode(), None))
