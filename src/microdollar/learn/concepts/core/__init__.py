"""The concept model in numpy: importing it imports no torch."""
