"""Models by Hub id, from a local cache that looks like a downloaded one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import tiny_checkpoints

CODE = """
import json, sys
from probes.config import ModelConfig
from probes.core.errors import UserError
from probes.models.loading import open_model

def attempt(**settings):
    try:
        handle = open_model(ModelConfig(device="cpu", **settings))
        body = handle.load()
        weight = float(body.layers[0].self_attn.o_proj.weight[0, 0])
        return [handle.fingerprint, handle.source, type(body).__name__, weight]
    except UserError as error:
        return str(error)

print(json.dumps([attempt(**settings) for settings in json.loads(sys.argv[1])]))
"""


def cached(home: Path, repository: str, commits: dict[str, int], *, pickled: bool = False) -> None:
    """A repository in the cache, each commit with weights of its own; the last one is main."""
    base = home / "hub" / f"models--{repository.replace('/', '--')}"
    (base / "refs").mkdir(parents=True)
    for commit, seed in commits.items():
        snapshot = tiny_checkpoints.write_checkpoint(base / "snapshots" / commit, seed=seed)
        if pickled:
            (snapshot / "model.safetensors").rename(snapshot / "pytorch_model.bin")
        (base / "refs" / "main").write_text(commit)


def attempts(home: Path, *settings: dict[str, str]) -> list[Any]:
    """What opening and loading gives, in a process with that cache and no network."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(settings)],
        env=os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    results: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return results


def test_hub_ids(tmp_path: Path) -> None:
    old, new = "a" * 40, "b" * 40
    cached(tmp_path, "someone/tiny", {old: 1, new: 2})
    cached(tmp_path, "someone/pickled", {old: 1}, pickled=True)
    cached(tmp_path, "someone/adapter", {old: 1})
    snapshot = tmp_path / "hub" / "models--someone--adapter" / "snapshots" / old
    (snapshot / "adapter_config.json").write_text("{}")
    main, again, first, pickled, missing, revision, adapter = attempts(
        tmp_path,
        {"name": "someone/tiny"},
        {"name": "someone/tiny", "revision": new},
        {"name": "someone/tiny", "revision": old},
        {"name": "someone/pickled"},
        {"name": "someone/missing"},
        {"name": "someone/tiny", "revision": "c" * 40},
        {"name": "someone/adapter"},
    )
    assert "hf download someone/adapter --local-dir DIR" in adapter
    assert main == again
    assert main[1:3] == ["someone/tiny", "LlamaModel"]
    assert first[0] != main[0] and first[3] != main[3]
    assert "its weights cannot be read" in pickled and "safetensors" in pickled
    for message in (missing, revision):
        assert "not found on the Hub or, when offline, in its local cache" in message
