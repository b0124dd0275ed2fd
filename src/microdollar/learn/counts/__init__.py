"""Weights from counts: models written down from data statistics, with no gradient."""
