"""`./dev faults`: the campaigns of tests/campaigns in their long form."""
