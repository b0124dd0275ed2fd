def roofline_section(x):
    return None


def scaling_section(x):
    return None


def crossover_section(x):
    return None
