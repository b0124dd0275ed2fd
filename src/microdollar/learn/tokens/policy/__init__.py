"""A small network that scores tokens by what is lost without them; numpy to use, torch to train."""
