"""Train probes for every attention head of a model: ``python train.py --help``."""

from probes.cli import main

if __name__ == "__main__":
    main()
