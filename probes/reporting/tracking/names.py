"""What a run and its artifacts are called on a dashboard, within W&B's limits."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Sequence

from probes.core.files import digest, write_atomically
from probes.reporting.tracking.description import RunDescription
from probes.reporting.tracking.sweep_of_run import SweepOfRun
from probes.results.vocabulary.methods import PROBE
from probes.results.vocabulary.sites import HEADS

LONGEST = 128
"""Characters of a run's name, a group and an artifact's name."""
ID_LENGTH = 16
ID_FILE = "headprobes.json"
"""Under ``wandb/`` of a run directory: the run's id at W&B, and the identity that it is for."""
SHOWN_FEATURES = 3
IN_THE_NAME = re.compile(
    r"[+~]*(model|corpus|probe|features|methods|site|logger|sweep|plan|until|objective|trainer"
    r"|engine|cache_dir|memory_budget|disk_budget|shard|experiment|debug|model\.name|corpus\.name"
    r"|(hydra|logger|trainer|engine)[./].*)(@.*)?"
)
"""Keys of overrides that the name of a job says otherwise, or that change no result."""


def run_name(run: RunDescription, sweep: SweepOfRun) -> str:
    """Model, corpus, features, and probe or methods; of a job of a sweep what else it sets."""
    words = [run.model, run.corpus, features_name(run.features), _means(run)]
    words += [line for line in sweep.overrides if not IN_THE_NAME.fullmatch(line.split("=")[0])]
    return limited(" ".join(words))


def job_type(run: RunDescription, sweep: SweepOfRun) -> str:
    """``probe``, ``interventions`` or both; ``atlas`` for a part of one."""
    if sweep.of_atlas:
        return "atlas"
    kinds = ["probe"] * (PROBE in run.methods) + ["interventions"] * (set(run.methods) != {PROBE})
    return "-and-".join(kinds)


def collection_name(run: RunDescription) -> str:
    """Of the probes: the same for every run of the same question, whose probes are its versions."""
    site = () if run.site == HEADS else (run.site,)
    return artifact_name("probes", run.model, run.corpus, *run.features, *site, _means(run))


def artifact_name(*words: str) -> str:
    """Letters, digits, ``_``, ``.`` and ``-``, at most 128 of them.

    >>> artifact_name("probes", "gpt2", "a/b", "upos")
    'probes-gpt2-a-b-upos'
    """
    return limited(re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(words)))


def run_id(run: RunDescription) -> str:
    """The run's id at W&B: of the same job in the same directory always the same.

    It is kept in the directory, so that a job goes on as one run on another machine, too. A first
    one follows from the job's identity, the directory and the machine, so that a part of an atlas
    whose directory was emptied goes on as well. A directory that holds another job's gets another.
    """
    path = run.directory / "wandb" / ID_FILE
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["identity"] == run.identity and re.fullmatch(r"[0-9a-f]{16}", known["id"]):
            return str(known["id"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    new = digest([run.identity, str(run.directory.resolve()), platform.node()])[:ID_LENGTH]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({"identity": run.identity, "id": new}), durable=False)
    return new


def features_name(features: Sequence[str]) -> str:
    """The first few.

    >>> features_name(["upos", "number"]), features_name(list("abcdef"))
    ('upos,number', 'a,b,c+3')
    """
    more = len(features) - SHOWN_FEATURES
    return ",".join(features[:SHOWN_FEATURES]) + (f"+{more}" if more > 0 else "")


def limited(text: str, limit: int = LONGEST) -> str:
    """``text``, or its beginning with some digits that tell it from others that begin so."""
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[: limit - 9]}-{digest(text)[:8]}"


def _means(run: RunDescription) -> str:
    """The kind of probe and the other methods, in the order asked for."""
    return "+".join(run.probe if method == PROBE else method for method in run.methods)
