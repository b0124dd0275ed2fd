"""Tokens: what of a text to keep within an exact budget, and what the rest was worth."""
