"""The configuration as Hydra sees it: choices of the groups, and what is composed."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from probes.config.choices import fields_with_choices
from probes.config.corpus_kinds import CORPUS_KINDS
from probes.config.names import model_slug
from probes.config.run import AtlasConfig, CustomProbeConfig, LinearConfig, MLPConfig, RunConfig
from probes.core.claims import fresh_directory, sweep_directory

SCHEMAS: dict[str, dict[str, type]] = {
    "corpus": {kind: row.config for kind, row in CORPUS_KINDS.items()},
    "probe": {"linear": LinearConfig, "mlp": MLPConfig, "custom": CustomProbeConfig},
}


@dataclass
class ComposedConfig(RunConfig):
    """What Hydra composes: a run, whose corpus and probe come from their groups; or an atlas."""

    corpus: Any = "???"
    probe: Any = "???"
    atlas: AtlasConfig | None = None
    """Probe the whole catalogue instead of one corpus (``experiment=atlas``)."""
    sweep: str | None = None
    """Name of a sweep: its jobs are kept in ``outputs/sweeps/NAME``, and the same command goes on
    with those that are missing or failed."""
    plan: bool = False
    """Only print what a sweep would do."""

    def run_config(self) -> RunConfig:
        """The run by itself; of an atlas: the settings that all of its runs share."""
        return RunConfig(**{field.name: getattr(self, field.name) for field in fields(RunConfig)})


RUN_SCHEMA = "run_schema"


def register() -> None:
    """Store the schema with Hydra: ``run_schema``, and ``schema/<group>/<name>`` for choices.

    Once: it takes half as long as composing a configuration.
    """
    # Late: Hydra, which takes a tenth of a second, is for the command line only.
    from probes.config.hydra_store import store_without_copies

    store = store_without_copies()
    if f"{RUN_SCHEMA}.yaml" not in store.repo:
        for group, schemas in SCHEMAS.items():
            for name, schema in schemas.items():
                store.store(group=f"schema/{group}", name=name, node=schema)
        store.store(name=RUN_SCHEMA, node=ComposedConfig)
    register_resolvers()


def register_resolvers() -> None:
    """What ``conf/`` may compute.

    ``${model_slug:${model}}`` is a directory name for a model, ``${key_choices:}`` lists the keys
    that take one of a few words, for ``--help``, ``${fresh_directory:NAME}`` makes a directory of
    that name, or one with ``-1``, ``-2``, ... behind it, ``${sweep_directory:NAME,ELSE}`` is that
    of a named sweep, and a fresh one where it has no name.
    """
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("model_slug", model_slug, replace=True)
    OmegaConf.register_new_resolver("key_choices", key_choices, replace=True)
    OmegaConf.register_new_resolver(
        "fresh_directory", fresh_directory, use_cache=True, replace=True
    )
    OmegaConf.register_new_resolver(
        "sweep_directory", sweep_directory, use_cache=True, replace=True
    )


def key_choices() -> str:
    """A line for each key of a run that takes one of a few words."""
    run = RunConfig()
    groups = [("", run), *((f"{field.name}.", getattr(run, field.name)) for field in fields(run))]
    lines = [
        f"{prefix}{name}: {', '.join(choices)}"
        for prefix, group in groups
        if is_dataclass(group)
        for name, choices in fields_with_choices(group)
    ]
    return "\n".join(lines)
