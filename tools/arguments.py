"""What words of the developers' commands may be."""

import argparse


def count(word: str) -> int:
    """Return a number of rounds, inputs or seconds; raise what argparse tells for any other word."""
    number = int(word) if word.isdecimal() else 0
    if not number:
        raise argparse.ArgumentTypeError(f"want a whole number from 1, not '{word}'")
    return number
