"""Object files: open (ELF to ObjectSpec) and prepare (relocate for a kernel); pure."""
