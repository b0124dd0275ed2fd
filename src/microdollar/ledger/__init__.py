"""Every prediction and every measurement, append-only."""
