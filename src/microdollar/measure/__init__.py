"""The same quantities from a real run. Sees no prediction."""
