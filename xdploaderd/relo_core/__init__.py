"""CO-RE: access specs, candidates, matching, values and patching (libbpf relo_core.c); pure."""
