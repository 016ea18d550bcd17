"""Configuration text to checked values: attachments (YAML) and pinning (line based); pure."""
