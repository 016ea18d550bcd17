"""Load: a PreparedObject into the kernel, all or nothing."""
