"""Names and numbers of the kernel's user interface; no I/O."""
