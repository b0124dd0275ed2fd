"""Counting text larger than memory, on all cores or on a cluster.

A map and a reduce: each piece of the text becomes a sorted list of its longest strings with
counts (``grams``), kept on the disk (``runs``) and merged (``merge``); one pass over the
merged list gives the counts of every order (``levels``), and further passes over files the
evidence (``evidence``) and the weights (``weights``). ``build`` puts them together,
``cluster`` sends the pieces to Dask workers, ``sources`` reads them from anywhere.
The model is the same, bit for bit, as the one that is built in memory.
"""
