"""What training a policy with its reconstructor costs: predicted, probed, tracked."""
