"""Whether the disk of the run directory has room for the results, asked before the work is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from probes.config import LinearConfig, MLPConfig, ProbeConfig
from probes.core.errors import UserError
from probes.core.files import existing_parent, free_bytes, size
from probes.training.problems import ActivationSource

LEAST = 1_000_000
"""Bytes of the tables, maps and the page of a small run."""


def check_space(run_dir: Path, probes: int = 0) -> None:
    """Refuse a run whose results do not fit beside what is on the disk.

    probes: bytes of the fitted probes.

    Raises:
        UserError: with the bytes that are needed and those that are free.
    """
    free = free_bytes(existing_parent(run_dir))
    if free < LEAST + probes:
        raise UserError(
            f"hydra.run.dir={run_dir}: the results need about {size(LEAST + probes)}, and the disk "
            f"has {size(free)} free",
            fix="hydra.run.dir=DIRECTORY_ON_A_LARGER_DISK",
        )


def probe_bytes(sources: Sequence[ActivationSource], probe: ProbeConfig) -> int:
    """At least so many bytes are written for the probes of these sources (float32): once as they
    are fitted, and once for the finished run."""
    total = 0
    for source in sources:
        for layer in source.cache.layers:
            for sets, units, width in (
                (source.on_units(layer.stream, layer.layer), layer.units, layer.width),
                (source.on_layer(layer.stream, layer.layer), 1, layer.units * layer.width),
            ):
                for problem_set in sets:
                    classes = len(problem_set.task.classes)
                    if isinstance(probe, LinearConfig):
                        columns = 1 if classes == 2 else classes
                        total += 4 * units * columns * width
                    elif isinstance(probe, MLPConfig):
                        total += 4 * units * probe.hidden * (width + classes)
    return 2 * total
