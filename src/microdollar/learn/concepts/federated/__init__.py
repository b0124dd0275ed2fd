"""Learning together without sending text: deltas, robust aggregation, Flower."""
