"""Front-ends of the daemon: control socket and D-Bus; they convert and delegate."""
