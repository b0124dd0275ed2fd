"""Weights from gradient descent: the baselines that counting is compared with."""
