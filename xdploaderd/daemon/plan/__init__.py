"""What is wanted, what is there, and the actions from one to the other: pure."""
