"""xdploaderd: load, pin and attach XDP and tc programs, and keep them attached."""

__version__ = "0.1.0"
