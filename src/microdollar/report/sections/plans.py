def waterfall_section(x):
    return None


def memory_section(x):
    return None
