"""What can be told of loading an object in some kernel without asking it: checks that hold, fail or stay unknown."""
