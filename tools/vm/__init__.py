"""The project on other kernels: Debian's, booted in an emulator with the checkout in their first file system."""
