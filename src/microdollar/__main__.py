"""``python -m microdollar``: the same as the command ``microdollar``."""

import sys

from microdollar.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
