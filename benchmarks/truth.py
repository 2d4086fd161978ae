"""Do the statistics do what they say? Measured on activations whose truth is known.

    python -m benchmarks.truth [--quick] [--only familywise winner ...]

Prints one JSON line a check, with ``check``, ``value``, ``low`` and ``high``: the value and the
bounds that it must lie in; ``seconds`` are those since the line before. Exit status 1 if one does
not. The bounds are what the method promises, or what theory expects of the planted effect, widened
by the sampling error of the simulation. Probes are fitted by the project's own solver.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks import truth_effects, truth_estimates, truth_probes, truth_tests
from benchmarks.lines import report

Check = tuple[str, float, float, float]


@dataclass(frozen=True)
class Size:
    """How much is simulated."""

    heads: int
    repetitions: int


FULL, QUICK = Size(heads=1024, repetitions=200), Size(heads=64, repetitions=40)
CHECKS: dict[str, Callable[[Size], Iterator[Check]]] = {
    "coverage": truth_estimates.coverage,
    "winner": truth_estimates.winners_curse,
    "leakage": truth_probes.leakage,
    "control": truth_probes.control,
    "codelength": truth_probes.codelengths,
    "erasure": truth_probes.erasure,
    "power": truth_tests.power,
    "discoveries": truth_tests.false_discoveries,
    "familywise": truth_tests.familywise,
    "effects": truth_effects.familywise,
    "effect_coverage": truth_effects.coverage,
    "negative_heads": truth_effects.negative_heads,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the checks and say by the exit status whether all values lie in their bounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small, in under a minute")
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS))
    options = parser.parse_args(arguments)
    failed = 0
    for name in options.only:
        start = time.perf_counter()
        for check, value, low, high in CHECKS[name](QUICK if options.quick else FULL):
            numbers = {"value": value, "low": low, "high": high}
            report(
                "truth",
                name,
                "headprobes",
                check=check,
                **{key: round(one, 4) for key, one in numbers.items()},
                seconds=round(time.perf_counter() - start, 3),
            )
            start = time.perf_counter()
            failed += not low <= value <= high
    if failed:
        print(f"{failed} values outside their bounds", file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
