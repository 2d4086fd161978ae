"""The engine that a configuration asks for."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from probes.pipeline.engine import LOCAL, Engine
from probes.pipeline.prepare import PreparedRun


def engine_of(prepared: PreparedRun) -> AbstractContextManager[Engine]:
    """The engine that the configuration asks for, while the block runs.

    Raises:
        UserError: Ray is not installed, there is no cluster, or its nodes do not suit the run.
    """
    if prepared.config.engine.name == "local":
        return nullcontext(LOCAL)
    from probes.pipeline.ray_engine import ray_engine  # late: an extra

    return ray_engine(prepared)
