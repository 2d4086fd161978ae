"""Job directories as a sweep leaves them, with made-up results."""

from __future__ import annotations

import json
from pathlib import Path

from probes.results.record import write_record
from probes.results.table import write_results
from tests.reporting.synthetic import heads_of, make_record, make_results

HOSTILE = "</script><img src=x onerror=alert(1)>"
STREAMS = {"encoder": heads_of(3, 4)}


def add_job(sweep: Path, number: int, overrides: list[str]) -> Path:
    """The directory of a job that has only begun."""
    job = sweep / str(number)
    (job / ".hydra").mkdir(parents=True)
    (job / ".hydra" / "overrides.yaml").write_text(json.dumps(overrides))
    return job


def finish(
    job: Path,
    feature: str = "upos",
    probe: str = "linear",
    *,
    streams: dict[str, list[int]] = STREAMS,
    signal: float = 0.35,
    seed: int = 0,
) -> None:
    """Write the results of one feature; ``signal`` is the height of the best head."""
    table = make_results(streams, features=(feature,), probe=probe, signal=signal, seed=seed)
    write_results(table, job / "results.csv")
    write_record(make_record(streams, features=(feature,)), job / "run.json")
