"""Where claims and what stands beside them come from; each gives pairs of the two."""
