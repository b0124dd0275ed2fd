"""Energy sensors."""
