"""bpf(2), the BPF file system, and what the running kernel is."""
