"""Extractions in processes that may be killed, forked from one that has imported everything.

``python -m tests.activations.forked OUTPUTS MODEL`` is asked for ``{"cache_dir", "pause", "hold",
"shard", "patience"}``: an extraction whose passes wait ``pause`` seconds each, and which stays for
ever at pass ``hold``, if that is not 0 (``tests.fork_server``).
"""

from __future__ import annotations

import itertools
import logging
import sys
import time
from pathlib import Path
from typing import Any

import torch

from probes.activations import extraction
from probes.config import ExtractionConfig, ModelConfig
from probes.models.forward import forward
from probes.models.loading import open_model
from probes.passes import loop
from probes.passes.shards import Shard
from tests.fork_server import serve
from tests.small_corpora import mixed_corpus, random_texts


def run(
    model: str, cache_dir: str, pause: float, hold: int, shard: Shard, patience: float | None
) -> None:
    """One extraction; says ``pass`` before each forward pass, then ``fresh`` or ``reused``, or
    ``missing`` where other shards are not done."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    real = forward
    count = itertools.count(1)

    def slow(*args: Any, **options: Any) -> Any:
        print("pass", flush=True)
        time.sleep(3600 if next(count) == hold else pause)
        return real(*args, **options)

    setattr(loop, "forward", slow)  # noqa: B010 (mypy knows no such name in that module)
    caches = extraction.extract(
        open_model(ModelConfig(name=model)),
        mixed_corpus(random_texts(30, seed=9)),
        sites=["heads", "residual"],
        extraction=ExtractionConfig(tokens_per_batch=64),
        cache_dir=cache_dir,
        shard=shard,
        patience=patience,
        checkpoint_seconds=0.0,
    )
    if caches:
        print("fresh" if caches["heads"].fresh else "reused", flush=True)
    else:
        print("missing", flush=True)


def main() -> None:
    model = sys.argv[2]
    # One thread, since threads do not survive a fork; loaded once, since that imports the model.
    torch.set_num_threads(1)
    open_model(ModelConfig(name=model)).load()

    def work(asked: dict[str, Any]) -> int:
        shard = Shard(*asked["shard"])
        run(model, asked["cache_dir"], asked["pause"], asked["hold"], shard, asked["patience"])
        return 0

    serve(work, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
