"""Extractions in processes that may be killed, forked from one that has imported everything.

``python -m tests.activations.forked MODEL OUTPUTS`` reads a JSON object a line: ``{"cache_dir",
"pause", "hold", "shard", "patience"}`` starts an extraction and answers with its process id; its
passes wait ``pause`` seconds each, and it stays for ever at pass ``hold``, if that is not 0.
``{"wait": pid}`` answers with its exit status. Importing once keeps the tests short.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch

from probes.activations import extraction
from probes.config import ExtractionConfig, ModelConfig
from probes.models.forward import forward
from probes.models.loading import open_model
from probes.passes import loop
from probes.passes.shards import Shard
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


def child(output: Path, *arguments: Any) -> int:
    """Fork a ``run`` that writes what it says to ``output``; its process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        with open(output, "w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        run(*arguments)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    outputs = Path(sys.argv[2])
    # One thread, since threads do not survive a fork; loaded once, since that imports the model.
    torch.set_num_threads(1)
    open_model(ModelConfig(name=sys.argv[1])).load()
    for count, line in enumerate(sys.stdin):
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer: Any = os.waitstatus_to_exitcode(status)
        else:
            output = outputs / f"{count}.txt"
            output.touch()
            cache_dir, pause, hold = request["cache_dir"], request["pause"], request["hold"]
            own = Shard(*request["shard"]), request["patience"]
            pid = child(output, sys.argv[1], cache_dir, pause, hold, *own)
            answer = {"pid": pid, "output": str(output)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
