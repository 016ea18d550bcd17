"""iproute2's command lines, done by this loader: `ip` and `tc` as far as BPF goes; all else is the real tools'."""
