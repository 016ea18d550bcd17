"""The long proofs of the daemon's goals (G1 to G14): short in tests/kernel, long by `./dev faults`."""
