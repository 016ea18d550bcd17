"""What a campaign found out, in numbers, and the words for it."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

Figures = Mapping[str, float | str]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of all values do not exceed; 0 of no values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def spread(what: str, seconds: Sequence[float]) -> Figures:
    """Return median, p99 and maximum in milliseconds."""
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {f"{what} {name} ms": round(percentile(seconds, share) * 1000, 1) for name, share in shares.items()}


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    """Append the seconds that the block took."""
    began = time.monotonic()
    yield
    into.append(time.monotonic() - began)


def in_words(figures: Figures) -> str:
    """Return the figures in one line."""
    return ", ".join(f"{name} {_number(value)}" for name, value in figures.items())


def _number(value: float | str) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
