"""Where ``model.name`` points to, checked before anything heavy is imported."""

from __future__ import annotations

from probes.config import ModelConfig
from probes.models.checkpoints import local_directory
from probes.models.gguf_file import find_gguf
from probes.models.packaged import PACKAGED, check_packaged


def check_source(settings: ModelConfig) -> None:
    """Refuse a model that is not where ``settings`` says: a directory, file or package.

    Raises:
        UserError: what is missing; Hub ids are asked for later.
    """
    if settings.name in PACKAGED:
        check_packaged(settings)
    elif find_gguf(settings) is None:
        local_directory(settings)
