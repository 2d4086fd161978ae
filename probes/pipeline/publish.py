"""Everything a finished run leaves: tables, probes, maps, the report, and ``run.json`` last."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from probes.analysis.estimates import estimate_qualities
from probes.core.files import sync_tree
from probes.evaluation.evaluate import Evaluation
from probes.pipeline.recorder import RunRecorder
from probes.pipeline.sharded_fits import PARTS
from probes.reporting.console import new_console
from probes.reporting.drawing.doses import save_doses
from probes.reporting.drawing.maps import save_maps
from probes.reporting.page.report import write_report
from probes.reporting.terminal import print_estimates, print_maps
from probes.results.banks import save_banks
from probes.results.evidence import save_evidence
from probes.results.quantities import describe_metrics
from probes.results.record import RECORD, RunRecord, write_record
from probes.results.table import results_table, write_results
from probes.training.bank import ProbeBank

log = logging.getLogger(__name__)


def publish(
    run_dir: Path,
    evaluation: Evaluation,
    banks: Sequence[ProbeBank],
    record: RunRecord,
    recorder: RunRecorder,
    *,
    level: float,
) -> tuple[pd.DataFrame, RunRecord]:
    """Write the run directory and print the maps; ``run.json`` is what makes it a finished run.

    Returns the results table and the record as written, for loggers.
    """
    with recorder.phase("report"):
        table = describe_metrics(results_table(evaluation.rows), record.metrics)
        write_results(table, run_dir / "results.csv")
        save_evidence(evaluation.maps, run_dir / "evidence.safetensors", doses=evaluation.doses)
        base_model = {"name": record.model.name, "fingerprint": record.model.fingerprint}
        save_banks(run_dir, banks, base_model)
        for feature in record.tasks:
            save_maps(table, feature, run_dir / "maps", record=record, level=level)
        for steered in record.steering:
            save_doses(table, steered, run_dir / "maps", run=record)
        qualities = estimate_qualities(table, evaluation.maps)
        record = dataclasses.replace(record, estimates=qualities)
        write_report(table, record, run_dir / "report.html", level=level, maps=evaluation.maps)
    record = dataclasses.replace(record, timings={**record.timings, **recorder.timings})
    sync_tree(run_dir, without=PARTS)  # what the record promises is on the disk
    write_record(record, run_dir / RECORD)

    console = new_console()
    for feature in record.tasks:
        print_maps(table, feature, console, record=record, level=level)
    print_estimates(record, console)
    for caveat in record.caveats:
        log.warning("caveat: %s", caveat)
    spent = ", ".join(
        f"{name.removesuffix('_seconds')} {seconds:.1f} s"
        for name, seconds in record.timings.items()
    )
    log.info("%s; peak memory %.0f MB", spent, (record.peak_memory_bytes or 0) / 1e6)
    log.info("report: %s", run_dir / "report.html")
    return table, record
