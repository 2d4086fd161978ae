"""The configuration of each job of a sweep, composed as Hydra does, ten times as fast.

Hydra 1.3 reads and merges all files of ``conf/`` for every job, a sixth of a second each, twice.
What the files give depends on the chosen groups only (``probe=mlp``), so they are composed once for
each choice of groups, and the values of a job (``seed=3``) are set on a copy, by Hydra's own code.
"""

from __future__ import annotations

import copy
from typing import cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict


class JobComposer(ConfigLoaderImpl):
    """Hydra's loader of configurations, which remembers what the groups of a sweep's jobs give."""

    def __init__(self, loader: ConfigLoader) -> None:
        """loader: the one that Hydra made; this one takes its place."""
        vars(self).update(vars(loader))
        self._by_groups: dict[tuple[str, ...], DictConfig] = {}

    def __getstate__(self) -> dict[str, object]:
        """Launchers send the loader to other processes, which compose anew."""
        return {**vars(self), "_by_groups": {}}

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """The configuration of a job, equal to what Hydra's own loader returns."""
        always = cast(list[str], OmegaConf.to_container(master_config.hydra.overrides.hydra))
        given = [*always, *sweep_overrides]
        parsed = OverridesParser.create().parse_overrides(given)
        groups = [override for override in parsed if self._chooses(override)]
        key = tuple(str(override.input_line) for override in groups)
        if key not in self._by_groups:
            whole = super().load_configuration(
                master_config.hydra.job.config_name, list(key), run_mode=RunMode.RUN
            )
            self._by_groups[key] = whole
        config = copy.deepcopy(self._by_groups[key])
        values = [override for override in parsed if not self._chooses(override)]
        self._apply_overrides_to_config(values, config)
        tasks = [override for override in parsed if not override.is_hydra_override()]
        with open_dict(config.hydra):
            hydra = [override for override in parsed if override.is_hydra_override()]
            config.hydra.overrides.hydra = [override.input_line for override in hydra]
            config.hydra.overrides.task = [override.input_line for override in tasks]
            about = config.hydra.job.config.override_dirname
            config.hydra.job.override_dirname = get_overrides_dirname(
                overrides=tasks,
                kv_sep=about.kv_sep,
                item_sep=about.item_sep,
                exclude_keys=about.exclude_keys,
            )
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config

    def _chooses(self, override: Override) -> bool:
        """Whether an override chooses a file of a group, or changes where files are looked for."""
        if override.get_key_element() == "hydra.searchpath":
            return True
        return self.repository.group_exists(override.key_or_group) and not isinstance(
            override.value(), dict
        )
