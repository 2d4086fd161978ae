"""Train probes for every attention head of a model: ``python train.py --help``."""

import sys

from probes.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
