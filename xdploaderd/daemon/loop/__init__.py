"""Observe, plan, carry out, wait; and what the world is told of it."""
