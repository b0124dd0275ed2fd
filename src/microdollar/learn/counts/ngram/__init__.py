"""The telescoped n-gram network: interpolated Kneser-Ney as a network written from counts.

``trie`` counts, ``discounts`` turns counts of counts into discounts, ``network`` writes the
weights down and scores with them, ``chain`` scores while it goes on counting, ``model``
saves and loads, ``learner`` puts them together.
"""
