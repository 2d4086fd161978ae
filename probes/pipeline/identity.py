"""Which run a configuration asks for: the keys that change its results.

Runs whose ``result_keys`` are equal, on equal texts and the same model, have equal results; so a
job that is finished can be recognised, whatever its directory is called. ``job_identity`` is all
of this as one word.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from probes.config import RunConfig
from probes.config.layers import LayerChoice
from probes.core.environment import without_home
from probes.core.files import digest
from probes.corpora.corpus import Corpus
from probes.models.checkpoints import file_hash
from probes.models.weights_identity import weights_identity
from probes.pipeline.whole_layers import is_sampled
from probes.results.record import RunRecord
from probes.statistics.maps import Layer

KEYS_THAT_CHANGE_NO_RESULT = (
    *("trainer", "logger", "cache_dir", "memory_budget", "disk_budget", "until", "objective"),
    *("shard", "engine", "keep_parts", "atlas"),
)
"""Groups and keys of a configuration; ``atlas`` is in the ``run.json`` of earlier versions only."""

EARLIER_OPTIONS = {"vocabulary": "invented"}
"""Options of generated corpora that earlier versions did not have, and what they did."""

MACHINE = ("versions", "device", "threads")
"""Fields of an identity of fits (``fit_identity``) that say what they are computed on."""

Settings = dict[str, object]

LENGTH = 16
"""Hexadecimal digits of an identity: 64 bits, of which two in a sweep of a million jobs are equal
with a chance of one in ten million."""


def job_identity(config: RunConfig, corpus: Corpus) -> str:
    """A hash of all that changes a run's results: settings, texts and labels, weights, own code.

    It needs neither torch nor transformers. Equal identities are equal results on the same kind of
    processor; where and how a run is made (``KEYS_THAT_CHANGE_NO_RESULT``) is not in it. Settings
    that are at their defaults are not either, so that a key that a later version adds changes no
    identity; that the defaults are the same is for ``gives_the_results_of`` to say.

    corpus: of ``config``, with its splits.

    Raises:
        UserError: the model is not where the configuration says.
    """
    keys = _that_change_results(without_home(_changed(config)))
    whole = {
        "keys": keys,
        "corpus": [corpus.fingerprint, corpus.answers_fingerprint],
        "weights": weights_identity(config.model, Path(os.path.expanduser(config.cache_dir))),
        "code": sorted(_own_code(keys)),
    }
    return digest(whole)[:LENGTH]


def _changed(config: object) -> Settings:
    """The settings of a dataclass that are not at their defaults, and its kind; nested ones too."""
    assert dataclasses.is_dataclass(config) and not isinstance(config, type)
    changed: Settings = {"kind": type(config).__name__}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changed[field.name] = _changed(value)
        elif value != getattr(type(config)(), field.name):
            changed[field.name] = value
    return changed


def _own_code(value: object) -> Iterator[str]:
    """Hashes of the Python files that a configuration names (``FILE.py:NAME``)."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _own_code(item)
    elif isinstance(value, str) and (target := re.fullmatch(r"(.+\.py):\w+", value)):
        path = Path(target[1]).expanduser()
        if path.is_file():
            yield file_hash(path)


def result_keys(config: RunConfig) -> Settings:
    """The keys of a run that change its results, as plain JSON values.

    >>> from probes.config import RunConfig
    >>> result_keys(RunConfig(cache_dir="/a")) == result_keys(RunConfig(cache_dir="/b"))
    True
    """
    return _that_change_results(_plain(config))


def gives_the_results_of(record: RunRecord, config: RunConfig) -> bool:
    """Whether a run of the same texts and model has the results that ``config`` asks for.

    A key that its stored configuration lacks was not known to the version that wrote it and counts
    as its default; one that this version does not know makes it another run.
    """
    layers = [(stream.name, layer) for stream in record.model.streams for layer in stream.layers]
    return same_settings(record.config, config, layers)


def same_settings(
    config_of_record: Mapping[str, object], config: RunConfig, layers: Sequence[Layer]
) -> bool:
    """Whether a stored configuration changes results as ``config`` does.

    layers: of the model, of which ``auto`` takes some.
    """
    stored = _that_change_results(_completed(config_of_record, config))
    asked = result_keys(config)
    _add_earlier_options(stored, asked)
    for settings in (stored, asked):
        settings["baseline"] = _whole_layers(settings["baseline"], layers)
    return stored == asked


def _add_earlier_options(stored: Settings, asked: Settings) -> None:
    """Options of a generated corpus that a stored configuration lacks, as they were then."""
    of_stored, of_asked = (
        corpus.get("options") if isinstance(corpus := settings.get("corpus"), dict) else None
        for settings in (stored, asked)
    )
    if isinstance(of_stored, dict) and isinstance(of_asked, dict):
        for name, value in EARLIER_OPTIONS.items():
            if name in of_asked:
                of_stored.setdefault(name, value)


def _whole_layers(baseline: object, layers: Sequence[Layer]) -> object:
    """The group ``baseline`` with the layers that ``auto`` takes of this model.

    ``true`` of earlier versions took every layer of any model.
    """
    if not isinstance(baseline, dict):
        return baseline
    every = {"true": "all", "false": "none"}
    if not is_sampled("auto", layers):
        every["auto"] = "all"
    return {
        key: every.get(str(value).lower(), value) if key in ("all_heads", "residual") else value
        for key, value in baseline.items()
    }


def _completed(stored: Mapping[str, object], config: object) -> Settings:
    """``stored`` with the defaults of the keys of ``config`` that it lacks, nested ones too."""
    assert dataclasses.is_dataclass(config) and not isinstance(config, type)
    defaults = type(config)()
    completed = dict(stored)
    for field in dataclasses.fields(config):
        group, known = getattr(config, field.name), stored.get(field.name)
        if field.name not in stored:
            completed[field.name] = _plain(getattr(defaults, field.name))
        elif dataclasses.is_dataclass(group) and isinstance(known, Mapping):
            completed[field.name] = _completed(known, group)
    return completed


def _plain(value: object) -> object:
    """As ``run.json`` holds it: dictionaries and lists, the user's home directory as ``~``."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    return without_home(value)


def _that_change_results(config: object) -> Settings:
    assert isinstance(config, dict)
    kept = {key: v for key, v in config.items() if key not in KEYS_THAT_CHANGE_NO_RESULT}
    if (layers := LayerChoice.parse(kept.get("layers"))) is not None:
        kept["layers"] = layers.plain
    settings: Settings = json.loads(json.dumps(kept, default=str))
    return settings
