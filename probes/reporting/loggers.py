"""Where else a run is logged: nowhere, CSV, TensorBoard or Weights & Biases.

One logger lives for one run. Lightning logs training through ``lightning``; ``log_run`` adds the
finished results; leaving the ``with`` block closes everything, so that the next job of a sweep in
the same process starts its own. The process environment is read and never changed.

wandb, TensorBoard, Lightning and matplotlib are imported where they are used: most runs log to none
of them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probes.config import LoggerConfig
from probes.config.checks import check_logger
from probes.config.choices import choices_of
from probes.core.errors import UserError
from probes.reporting.head_map import head_map
from probes.reporting.reachable import reachable
from probes.results.feature_table import FeatureTable
from probes.results.method_maps import feature_maps
from probes.results.record import RunRecord
from probes.results.summary import baselines, best_estimate
from probes.results.table import features
from probes.results.vocabulary.methods import PROBE

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

log = logging.getLogger(__name__)


class RunLogger:
    """Logs nothing; what the others extend.

    >>> with RunLogger() as logger:
    ...     logger.lightning
    ()
    """

    lightning: Sequence[Logger] = ()
    """What ``lightning.Trainer`` logs to."""

    def log_curve(self, curve: Sequence[Mapping[str, float]]) -> None:
        """Log how a simplified model was trained: ``step`` and other numbers of each point."""
        for point in curve:
            numbers = {f"training/{name}": v for name, v in point.items() if name != "step"}
            for logger in self.lightning:
                logger.log_metrics(numbers, step=int(point["step"]))

    def log_run(self, table: pd.DataFrame, record: RunRecord) -> None:
        """Log a finished run, whose directory is complete."""

    def close(self, *, failed: bool) -> None:
        """Write what is pending and let go of everything."""

    def __enter__(self) -> RunLogger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(failed=kind is not None)


class LightningRunLogger(RunLogger):
    """CSV files or TensorBoard events in the run directory, through Lightning's own loggers."""

    def __init__(self, logger: Logger, run_dir: Path, run_config: Mapping[str, Any]) -> None:
        self.lightning = (logger,)
        self._logger = logger
        self._run_dir = run_dir
        logger.log_hyperparams(dict(run_config))

    def log_run(self, table: pd.DataFrame, record: RunRecord) -> None:
        """Send the best heads, and the maps where the logger takes pictures."""
        self._logger.log_metrics(run_metrics(table, record))
        writer: Any = getattr(self._logger, "experiment", None)
        if hasattr(writer, "add_image"):
            from matplotlib.image import imread

            for image in sorted((self._run_dir / "maps").glob("*.png")):
                writer.add_image(f"maps/{image.stem}", imread(image), dataformats="HWC")

    def close(self, *, failed: bool) -> None:
        """End the run there."""
        self._logger.finalize("failed" if failed else "success")


class WandbRunLogger(RunLogger):
    """One W&B run: config, metrics, a table of heads, the maps, the report and the probes."""

    def __init__(
        self,
        config: LoggerConfig,
        run_dir: Path,
        run_config: Mapping[str, Any],
        *,
        name: str | None,
        group: str | None,
    ) -> None:
        import wandb
        from lightning.pytorch.loggers import WandbLogger

        try:
            self._run = wandb.init(
                project=config.project,
                entity=config.entity,
                group=config.group or group,
                name=name,
                tags=list(config.tags),
                mode=wandb_mode(config.mode),
                dir=run_dir,
                config=dict(run_config),
                reinit="create_new",
                settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
            )
        except wandb.errors.Error as error:
            raise UserError(
                f"logger=wandb: W&B did not start ({error})", fix="logger.mode=offline"
            ) from None
        self._run_dir = run_dir
        self.lightning = (WandbLogger(experiment=self._run),)

    def log_run(self, table: pd.DataFrame, record: RunRecord) -> None:
        """Send the best heads, tables, maps, the page and the probes."""
        import wandb

        self._run.summary.update(run_metrics(table, record))
        heads = heads_table(table)
        rows: Any = heads.astype(object).where(heads.notna(), None).to_numpy().tolist()
        logged: dict[str, Any] = {"heads": wandb.Table(columns=[*heads.columns], data=rows)}
        for image in sorted((self._run_dir / "maps").glob("*.png")):
            logged[f"maps/{image.stem}"] = wandb.Image(str(image))
        report = self._run_dir / "report.html"
        if report.is_file():
            logged["report"] = wandb.Html(report.read_text(encoding="utf-8"), inject=False)
        self._run.log(logged)
        artifact = wandb.Artifact(
            f"probes-{self._run.id}",
            type="probes",
            metadata={"model": record.model.name, "model_fingerprint": record.model.fingerprint},
        )
        for file in ("probes.safetensors", "probes.json", "results.csv", "run.json"):
            if (self._run_dir / file).is_file():
                # Immutable: the files stay where they are, no second copy in the user's home.
                artifact.add_file(str(self._run_dir / file), policy="immutable", skip_cache=True)
        self._run.log_artifact(artifact)

    def close(self, *, failed: bool) -> None:
        """End the run there."""
        self._run.finish(exit_code=int(failed))


def make_logger(
    config: LoggerConfig,
    run_dir: Path | str,
    run_config: Mapping[str, Any],
    *,
    name: str | None = None,
    group: str | None = None,
) -> RunLogger:
    """The logger that the configuration names, to be used as a context manager.

    ``run_config`` is shown as the run's configuration; ``name`` and ``group`` (for the jobs of a
    sweep) are W&B's, where the configuration does not say otherwise.

    Raises:
        UserError: unknown logger or mode, a package that is not installed, W&B that does not start.
    """
    run_dir = Path(run_dir)
    check_logger(config)
    if config.name == "csv":
        from lightning.pytorch.loggers import CSVLogger

        return LightningRunLogger(CSVLogger(run_dir, name="csv", version=""), run_dir, run_config)
    if config.name == "tensorboard":
        from lightning.pytorch.loggers import TensorBoardLogger

        try:
            board = TensorBoardLogger(run_dir, name="tensorboard", version="")
        except ModuleNotFoundError:
            raise UserError(
                "logger=tensorboard: tensorboard is not installed",
                fix="pip install 'headprobes[tensorboard]', or logger=csv",
            ) from None
        return LightningRunLogger(board, run_dir, run_config)
    if config.name == "wandb":
        return WandbRunLogger(
            config, run_dir, run_config, name=name, group=group or sweep_group(run_dir)
        )
    return RunLogger()


def wandb_mode(mode: str) -> Any:
    """``auto`` settled: the value of ``WANDB_MODE``, else online if logged in, else offline."""
    if mode != "auto":
        return mode
    asked = os.environ.get("WANDB_MODE", "")
    if asked in choices_of(LoggerConfig, "mode"):
        return asked
    if asked == "dryrun":  # W&B's older word for it
        return "offline"
    import wandb

    if not _has_wandb_key():
        return "offline"
    server = wandb.setup().settings.base_url
    if reachable(server):
        return "online"
    log.warning(
        "logger.mode=auto: %s cannot be reached, so W&B runs offline (wandb sync sends it later)",
        server,
    )
    return "offline"


def _has_wandb_key() -> bool:
    """Whether this machine has a key of W&B, without asking for one and without the network."""
    import wandb  # late, as above

    try:
        return bool(wandb.login(prompt=False, verify=False))
    except TypeError:  # older versions always ask
        return bool(wandb.api.api_key)


def sweep_group(run_dir: Path) -> str | None:
    """A name that the jobs of one multirun share; None for a single run."""
    from omegaconf import OmegaConf

    described = run_dir / ".hydra" / "hydra.yaml"
    if not described.is_file():
        return None
    content = OmegaConf.to_container(OmegaConf.load(described), resolve=False)
    hydra = content.get("hydra") if isinstance(content, dict) else None
    if not isinstance(hydra, dict) or hydra.get("mode") != "MULTIRUN":
        return None
    sweep = run_dir.parent
    return f"sweep {sweep.parent.name} {sweep.name}"


def run_metrics(table: pd.DataFrame, record: RunRecord) -> dict[str, float]:
    """A run in a few numbers: for each feature its best head, baselines, significance; timings."""
    metrics: dict[str, float] = {}
    for feature in features(table):
        own = FeatureTable.of(table, feature)
        drawn = head_map(own)
        best = best_estimate(own)
        first = next((cell for cell, rank in drawn.ranks.items() if rank == 1), None)
        if best.value is not None and first is not None:
            metrics[f"{feature}/best_head_{own.metric}"] = best.value
            metrics[f"{feature}/best_layer"] = float(first[1])
            if first[2] is not None:
                metrics[f"{feature}/best_head"] = float(first[2])
        for baseline in baselines(own):
            if baseline.estimate.value is not None:
                name = baseline.comparator.label.replace(" ", "_").lower()
                metrics[f"{feature}/{name}_{own.metric}"] = baseline.estimate.value
        if drawn.evidence:
            metrics[f"{feature}/significant_heads"] = float(drawn.passed)
        for other in feature_maps(table, feature)[1:]:
            metrics |= _method_metrics(other)
    metrics |= {f"time/{name}": seconds for name, seconds in record.timings.items()}
    if record.tokens_per_second:
        metrics["time/tokens_per_second"] = record.tokens_per_second
    return metrics


def _method_metrics(own: FeatureTable) -> dict[str, float]:
    """The head of the largest effect of one method, and how many are significant."""
    s, drawn, best = own.subject, head_map(own), best_estimate(own)
    start = "/".join([own.feature, *filter(None, (s.method, s.probe, s.effect, s.positions))])
    metrics = {}
    first = next((cell for cell, rank in drawn.ranks.items() if rank == 1), None)
    if best.value is not None and first is not None:
        metrics[f"{start}/largest_{own.metric}"] = best.value
        metrics[f"{start}/largest_layer"] = float(first[1])
        if first[2] is not None:
            metrics[f"{start}/largest_head"] = float(first[2])
    if drawn.evidence:
        metrics[f"{start}/significant_heads"] = float(drawn.passed)
    return metrics


def heads_table(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each head of each map: its place, its value on validation, all quantities.

    Where a run has methods beside probes, columns say how the numbers of a row were obtained.
    """
    tables = []
    several = set(table["method"]) - {PROBE}
    for own in (own for feature in features(table) for own in feature_maps(table, feature)):
        for panel in head_map(own).panels:
            row, column = np.nonzero(panel.values.notna().to_numpy())
            heads = pd.DataFrame(
                {"feature": own.feature, "stream": panel.stream}, index=range(len(row))
            )
            if several:
                columns = {**own.subject.map_columns, "metric": own.metric}
                heads = heads.assign(**columns)
            heads["layer"] = panel.values.index.to_numpy()[row]
            heads["head"] = panel.values.columns.to_numpy()[column]
            grid = own.map(own.metric, split="validation", stream=panel.stream)
            heads[f"validation_{own.metric}"] = grid.reindex_like(panel.values).to_numpy()[
                row, column
            ]
            for name in own.names:
                grid = own.map(name, stream=panel.stream).reindex_like(panel.values)
                heads[name] = grid.to_numpy()[row, column]
            tables.append(heads)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
