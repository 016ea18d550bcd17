"""What outlives a run of the daemon: files of its state and data directories."""
