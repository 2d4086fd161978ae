"""Opening models of a directory, and what is said where that fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from probes.config import ModelConfig
from probes.core.errors import UserError
from probes.models.handle import Handle
from probes.models.loading import open_model


def opened(directory: Path, **settings: Any) -> Handle:
    return open_model(ModelConfig(name=str(directory), device="cpu", **settings))


def loaded(directory: Path, **settings: Any) -> Any:
    return opened(directory, **settings).load()


def refused(pattern: str, settings: ModelConfig, *, load: bool = False) -> None:
    with pytest.raises(UserError, match=pattern):
        handle = open_model(settings)
        if load:
            handle.load()
