"""A run as its logger sees it: begun before any work, told what becomes known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probes.activations.cache import Cache
from probes.core.environment import environment, without_home
from probes.models.handle import Handle
from probes.passes.shards import WHOLE
from probes.pipeline.identity import job_identity
from probes.pipeline.prepare import PreparedRun
from probes.reporting.tracking.description import RunDescription
from probes.reporting.tracking.make_logger import make_logger
from probes.reporting.tracking.run_logger import RunLogger
from probes.results.record import model_title


def logger_of(prepared: PreparedRun, run_dir: Path, run_config: Mapping[str, Any]) -> RunLogger:
    """The logger of a run; of one that leaves no results, as a shard does, it logs nothing.

    Raises:
        UserError: what ``make_logger`` refuses.
    """
    config = prepared.config
    if prepared.shard != WHOLE or config.until == "extraction" or config.logger.name == "none":
        return RunLogger()
    run = RunDescription(
        directory=run_dir,
        config=run_config,
        model=_model_name(prepared),
        corpus=prepared.corpus.name,
        corpus_fingerprint=prepared.corpus.fingerprint,
        features=tuple(prepared.features),
        methods=tuple(config.methods),
        probe=config.probe.name,
        site=config.site,
        objective=config.objective,
        identity=job_identity(config, prepared.corpus),
    )
    logger = make_logger(config.logger, run)
    logger.log_facts(
        {
            "directory": without_home(str(run_dir.resolve())),
            "identity": run.identity,
            "corpus": {"name": run.corpus, "fingerprint": run.corpus_fingerprint},
        }
    )
    return logger


def facts_of_model(handle: Handle) -> dict[str, Any]:
    """The model as it was opened, and what it runs on."""
    model = {
        "name": without_home(handle.name),
        "fingerprint": handle.fingerprint,
        "kind": handle.kind,
        "dtype": str(handle.dtype),
    }
    return {"model": model, "environment": environment(handle.device)}


def facts_of_caches(caches: Mapping[str, Cache]) -> dict[str, Any]:
    """The activations by kind of site: what they are known by, and how many they are."""
    return {
        "caches": {
            site: {
                "key": cache.key,
                "rows": cache.n_rows,
                "bytes": cache.n_bytes,
                "dtype": str(cache.manifest["dtype"]),
                "layers": len(cache.layers),
                "reused": not cache.fresh,
            }
            for site, cache in caches.items()
        }
    }


def _model_name(prepared: PreparedRun) -> str:
    """As headings call it, with what makes it another model of that name."""
    model = prepared.config.model
    more = [f"@{model.revision}"] if model.revision else []
    more += [f"@{model.checkpoint}"] if model.checkpoint is not None else []
    more += [f"-{model.simplified.task}"] if model.simplified is not None else []
    more += ["-random"] if model.random_init else []
    more += ["-chat"] if model.chat != "none" else []
    return "".join([model_title(model.name), *more])
