"""What front-ends ask for."""
