"""BTF blobs: index once, decode types on demand, build new blobs (Documentation/bpf/btf.rst)."""


class Btf:
    """One BTF blob, or a split one on top of its base."""
