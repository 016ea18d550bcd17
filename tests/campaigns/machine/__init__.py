"""G14: random sequences of what operators, others and fate do, each step held against a model (hypothesis)."""
