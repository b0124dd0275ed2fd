"""Scorers: how much each token of a text deserves to be kept."""
