"""``python -m probes COMMAND``: the command line of ``headprobes``."""

from __future__ import annotations

import sys

from probes.cli import main
from probes.cli.commands import usage

if __name__ == "__main__":
    if len(sys.argv) == 1:  # headprobes alone makes the default run; a module should not
        print(f"{usage()}\n\nerror: COMMAND is missing", file=sys.stderr)
        sys.exit(2)
    main()
