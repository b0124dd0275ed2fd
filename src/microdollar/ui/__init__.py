"""The planner page: a model, a device and a plan on one local page, priced as one changes them.

The page is served to this machine alone and opens no file that it is told of: models and plans
are names of the catalogs or pasted text.
"""
