"""Reading back what was dropped: how many bits it takes, and what most likely stood there."""
