"""Counts of many kinds of context, mixed bit by bit with weights that are counted too.

The n-gram chain gives one opinion on the next bit of a byte; histories of bits in word and
skip contexts, and the longest match in the text, give others. Their log-odds are added with
exponents that have a Gaussian posterior, and the sum is calibrated by counting.
"""
