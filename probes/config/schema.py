"""The configuration as Hydra sees it: choices of the groups, and what is composed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from probes.config.corpus_kinds import CORPUS_KINDS
from probes.config.run import AtlasConfig, LinearConfig, MLPConfig, RunConfig

if TYPE_CHECKING:
    from hydra.core.config_store import ConfigStore

SCHEMAS: dict[str, dict[str, type]] = {
    "corpus": {kind: row.config for kind, row in CORPUS_KINDS.items()},
    "probe": {"linear": LinearConfig, "mlp": MLPConfig},
}


@dataclass
class ComposedConfig(RunConfig):
    """What Hydra composes: a run, whose corpus and probe come from their groups; or an atlas."""

    corpus: Any = "???"
    probe: Any = "???"
    atlas: AtlasConfig | None = None
    """Probe the whole catalogue instead of one corpus (``experiment=atlas``)."""

    def run_config(self) -> RunConfig:
        """The run by itself; of an atlas: the settings that all of its runs share."""
        return RunConfig(**{field.name: getattr(self, field.name) for field in fields(RunConfig)})


def register() -> None:
    """Store the schema with Hydra: ``run_schema``, and ``schema/<group>/<name>`` for choices."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    # Hydra copies all of it for every group that --help lists (2 of 2.7 s); what it loads from the
    # one store there is, is a copy already.
    store.__deepcopy__ = _the_store  # type: ignore[attr-defined]
    store.store(name="run_schema", node=ComposedConfig)
    for group, schemas in SCHEMAS.items():
        for name, schema in schemas.items():
            store.store(group=f"schema/{group}", name=name, node=schema)
    register_resolvers()


def _the_store(memo: object) -> ConfigStore:
    """A function of the module, so that launchers of sweeps can pickle the store with it."""
    from hydra.core.config_store import ConfigStore

    return ConfigStore.instance()


def register_resolvers() -> None:
    """What ``conf/`` may compute: ``${model_slug:${model}}``, a directory name for a model."""
    from omegaconf import OmegaConf

    from probes.config.names import model_slug

    OmegaConf.register_new_resolver("model_slug", model_slug, replace=True)
