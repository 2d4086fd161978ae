"""One W&B run for each map: config, curves, tables, maps, the page, and the probes.

It begins before the model is opened, so that waiting and failures are seen there. Every call may
fail: the first that does is told once, the others are left out, and the run goes on.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from probes.config import LoggerConfig
from probes.core.environment import text_without_home
from probes.core.errors import UserError
from probes.core.secrets import known_secrets, redacted
from probes.evaluation.table_rows import Row
from probes.reporting.tracking.description import RunDescription
from probes.reporting.tracking.guard import Guard
from probes.reporting.tracking.run_logger import RunLogger
from probes.reporting.tracking.run_numbers import run_numbers
from probes.reporting.tracking.running_best import OBJECTIVE, STEP, RunningBest
from probes.reporting.tracking.tables import agreement_table, heads_table
from probes.reporting.tracking.wandb_artifacts import (
    may_be_sent,
    probes_artifact,
    references,
    use,
)
from probes.reporting.tracking.wandb_mode import key
from probes.reporting.tracking.wandb_start import let_go, quieten, started, swept_keys
from probes.reporting.tracking.wandb_sync import sync_command
from probes.results.objective import objective_of
from probes.results.record import RunRecord
from probes.results.vocabulary.methods import PROBE
from probes.statistics.maps import MapEvidence
from probes.training.parts import Part

log = logging.getLogger(__name__)

LONGEST_ERROR = 2000
"""Characters of a failure's message."""
FACTS = "run"
"""Key of W&B's config that has what is known of the run beside its own configuration."""


class WandbRunLogger(RunLogger):
    """Sends a run to W&B, or keeps it to be sent."""

    def __init__(self, config: LoggerConfig, run: RunDescription) -> None:
        self._secrets = known_secrets()
        self._guard = Guard("W&B", self._words)
        self._guard("starting", quieten)
        self._secrets += self._guard("starting", lambda: [key()]) or []
        self._described = replace(
            run,
            config=redacted(dict(run.config), self._secrets),
            model=self._clean(run.model),
            corpus=self._clean(run.corpus),
        )
        self._facts: dict[str, Any] = {}
        self._best = RunningBest(run.features, run.site, run.probe, run.objective)
        self._sync_dir: Path | None = None
        self._run: Any = self._guard(
            "starting", lambda: started(config, self._described, self._clean)
        )
        self._guard("starting", self._begin)

    def log_phase(self, name: str) -> None:
        """Show what the run is doing: extract, fit, effects or report."""
        self._summarise("noting the phase", {"phase": name})

    def log_facts(self, facts: Mapping[str, Any]) -> None:
        """Add to the config what has become known."""
        self._facts |= redacted(dict(facts), self._secrets)
        self._guard(
            "updating the config",
            lambda: self._run.config.update({FACTS: self._facts}, allow_val_change=True),
        )

    def log_curve(self, curve: Sequence[Mapping[str, float]]) -> None:
        """Log how a simplified model was trained, over its steps."""
        axis = "training/step"
        for point in curve:
            numbers = {f"training/{name}": value for name, value in point.items()}
            self._log("logging the training", numbers)
        if curve:
            self._guard("defining metrics", lambda: self._define("training/*", step_metric=axis))

    def log_fits(self, fits: Sequence[tuple[Part, Sequence[Row]]]) -> None:
        """Log the best validation values so far, and the objective from them."""
        if numbers := self._guard("following the fits", lambda: self._best.add(fits)):
            self._log("logging fits", numbers)

    def log_run(
        self, table: pd.DataFrame, record: RunRecord, maps: Sequence[MapEvidence] = ()
    ) -> None:
        """Send the best heads, tables, maps, the page and the probes."""
        numbers = self._guard("summing up", lambda: self._numbers(table, record)) or {}
        self._summarise("logging results", {**numbers, "phase": "finished"})
        self._guard("logging tables", lambda: self._run.log(self._tables(table, maps)))
        self._guard("logging maps", lambda: self._run.log(self._media()))
        for reference in references(self._described, self._facts):
            self._guard("naming what was used", partial(use, self._run, reference))
        self._guard("storing the probes", lambda: self._store(record, numbers))

    def close(self, error: BaseException | None = None) -> None:
        """End the run there, as failed with its error; say how to send one that was kept."""
        if self._run is None:
            let_go()
            return
        if error is not None:
            failure = {"phase": "failed", "error": self._words(error)[:LONGEST_ERROR]}
            self._summarise("noting the failure", failure)
        if not self._guard.failed and not self._run.offline:
            log.info("W&B: sending what is left; the results are complete, Ctrl+C loses none")
        # 255 is what W&B itself gives a run that was interrupted.
        status = 0 if error is None else 1 if isinstance(error, Exception) else 255
        finished = self._guard.last("ending the run", lambda: [self._run.finish(exit_code=status)])
        if finished is None:
            let_go()
        elif not self._guard.failed and self._run.offline and self._sync_dir is not None:
            log.info("W&B: %s", sync_command(self._sync_dir))

    def _begin(self) -> None:
        """The configuration, and the curves that there will be."""
        self._sync_dir = Path(self._run.settings.sync_dir)
        self._guard.consequence = (
            "results are not affected; what was logged so far can be sent by "
            + sync_command(self._sync_dir)
        )
        config = dict(self._described.config)
        # What an agent has set stays as it has set it: ``probe: mlp``, where ours is a group.
        swept = {name: config.pop(name) for name in swept_keys() & config.keys()}
        if swept:
            config["composed"] = swept
        self._run.config.update(config, allow_val_change=True)
        if not self._run.offline:
            log.info("W&B: %s", self._run.url)
        if PROBE not in self._described.methods:
            return
        self._define(STEP, hidden=True)
        for name in [OBJECTIVE, *self._best.names]:
            # Without a ``summary`` the last value, which is the largest, is the result. With one
            # it would be a table of one value, which a W&B sweep cannot read.
            self._define(name, step_metric=STEP, goal="maximize")

    def _define(self, name: str, **options: Any) -> None:
        """Say how a curve is drawn; options that the installed version does not know are left."""
        if "*" in name[:-1]:  # a feature's own name: to W&B it would be a pattern
            return
        known = inspect.signature(self._run.define_metric).parameters
        self._run.define_metric(name, **{k: v for k, v in options.items() if k in known})

    def _tables(self, table: pd.DataFrame, maps: Sequence[MapEvidence]) -> dict[str, Any]:
        frames = {"heads": heads_table(table), "agreement": agreement_table(table, maps)}
        return {name: self._table(frame) for name, frame in frames.items() if len(frame)}

    def _table(self, frame: pd.DataFrame) -> Any:
        import wandb

        rows: Any = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
        return wandb.Table(columns=[*frame.columns], data=redacted(rows, self._secrets))

    def _media(self) -> dict[str, Any]:
        """The maps as images, and the page."""
        import wandb

        directory = self._described.directory
        images = sorted((directory / "maps").glob("*.png"))
        media: dict[str, Any] = {f"maps/{image.stem}": wandb.Image(str(image)) for image in images}
        page = directory / "report.html"
        if page.is_file() and may_be_sent(page, self._secrets):
            media["report"] = wandb.Html(page.read_text(encoding="utf-8"), inject=False)
        return media

    def _store(self, record: RunRecord, numbers: Mapping[str, float]) -> None:
        artifact = probes_artifact(self._described, record, numbers, self._secrets)
        self._run.log_artifact(artifact, aliases=["latest", self._described.identity])

    def _numbers(self, table: pd.DataFrame, record: RunRecord) -> dict[str, float]:
        """Of the summary, with what a search maximises if the run has it."""
        numbers = run_numbers(table, record)
        if PROBE in self._described.methods:
            # A sweep of ours tells that there is no such number; here it is just not there.
            with suppress(UserError):
                numbers[OBJECTIVE] = objective_of(table, self._described.objective)
        return numbers

    def _log(self, what: str, numbers: Mapping[str, float]) -> None:
        self._guard(what, lambda: self._run.log(redacted(dict(numbers), self._secrets)))

    def _summarise(self, what: str, values: Mapping[str, Any]) -> None:
        self._guard(what, lambda: self._run.summary.update(redacted(dict(values), self._secrets)))

    def _clean(self, text: str) -> str:
        """In one line, without what is secret."""
        return " ".join(text_without_home(redacted(text, self._secrets)).split())

    def _words(self, error: BaseException) -> str:
        return self._clean(f"{type(error).__name__}: {error}" if str(error) else repr(error))
