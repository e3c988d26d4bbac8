"""Run the command line: python -m anchorlib."""

import sys

from anchorlib.cli import main

if __name__ == "__main__":
    sys.exit(main())
