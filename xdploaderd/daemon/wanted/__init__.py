"""What is wanted: the configuration in force, the objects as they were read, and who is held."""
