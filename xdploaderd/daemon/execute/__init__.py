"""Hooks and programs as they are: looked at, loaded, attached, taken off."""
