"""Wanted against observed state: plan, execute, repeat."""
