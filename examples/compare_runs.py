"""Do two runs rank their heads alike? The paired difference of two maps, head by head.

python examples/compare_runs.py outputs/A outputs/B
"""

from __future__ import annotations

import sys

from probes import load_run


def main(first: str, second: str) -> None:
    """Print what differs between two runs on the same corpus and split."""
    one, other = load_run(first), load_run(second)
    for feature in [name for name in one.features if name in other.features]:
        comparison = one.compare(other, feature)
        low, high = comparison.interval.low, comparison.interval.high
        differ = ((low > 0) | (high < 0)).sum()
        print(f"{feature}: {differ} of {len(comparison.units)} heads differ", end="")
        if comparison.rank is not None:  # three heads or more
            rank = comparison.rank
            print(f"; rank correlation {rank.value:.2f} (at most {rank.ceiling:.2f})", end="")
        print()


if __name__ == "__main__":
    main(*sys.argv[1:])
