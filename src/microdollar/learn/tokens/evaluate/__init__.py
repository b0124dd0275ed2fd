"""Evaluation: what is lost at exactly equal budgets, on documents that nobody learnt from."""
