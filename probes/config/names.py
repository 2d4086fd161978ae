"""Directory names for models."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

WEIGHTS = (
    *("name", "gguf_file", "revision", "random_init", "random_seed", "bos", "simplified"),
    *("checkpoint", "chat"),
)
"""Keys of the model's config that make it another model, or one that reads other texts."""


def model_slug(model: Any) -> str:
    """A directory name for the config of a model: readable, and different for different models.

    >>> model_slug({"name": "/data/models/gpt2"}).rpartition("-")[0]
    'gpt2'
    """
    if not isinstance(model, Mapping):
        from omegaconf import OmegaConf

        model = OmegaConf.to_container(model, resolve=True, throw_on_missing=False)
    known = {key: model.get(key) for key in WEIGHTS if model.get(key) not in (None, False, "none")}
    name = str(model.get("name", "model"))
    simplified = model.get("simplified")
    if simplified:
        name = f"{name}-{simplified.get('task', '')}"
    if model.get("checkpoint") is not None:
        name = f"{name}-{model['checkpoint']}"
    digest = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()
    return f"{slug(name.rstrip('/').rpartition('/')[2])}-{digest[:6]}"


def slug(name: str) -> str:
    """Letters, digits, ``_``, ``.`` and ``-``; whatever else becomes ``-``.

    >>> slug("../a b"), slug("...")
    ('a-b', 'model')
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip(".-")[:80] or "model"
