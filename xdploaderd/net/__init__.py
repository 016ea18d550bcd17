"""Interfaces and hooks over rtnetlink."""
