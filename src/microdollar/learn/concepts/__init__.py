"""Concepts: models of sentence vectors that learn on the device, gated and reversible."""
