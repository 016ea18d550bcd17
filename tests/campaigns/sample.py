"""Which of many cases a run takes: evenly spread, and others with another seed."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def sample(items: Sequence[T], most: int, seed: int = 1) -> Sequence[T]:
    """Return at most `most` of them, in their order; seeds 1 to ceil(len/most) have all of them."""
    if len(items) <= most:
        return items
    offset = (seed - 1) % -(-len(items) // most)
    return [items[place] for place in sorted({(n * len(items) // most + offset) % len(items) for n in range(most)})]
