"""Compute one relocation's value, and the record of how it came about (libbpf relo_core.c)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreDecision:
    """One CO-RE record decided: see docs/ARCHITECTURE.md."""

    program: str
