"""The config of a corpus by its name, as the command line would compose it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from probes.config import SCHEMAS, CorpusConfig, GeneratedConfig, GrammarConfig
from probes.config.files import config_dir
from probes.core.errors import UserError, closest


def corpus_config(
    name: str, options: Mapping[str, Any] | None = None, *, examples: int | None = None
) -> CorpusConfig:
    """What ``corpus=name`` and ``corpus.options.KEY=VALUE`` compose, without Hydra.

    examples: of a generated corpus, instead of the number in its config.

    Raises:
        UserError: no such choice, or keys that its kind of corpus does not have.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    folder = config_dir() / "corpus"
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in names:
        raise UserError(
            f"corpus={name}: no such corpus",
            allowed=", ".join(names),
            fix=closest(name, names, "corpus={}"),
        )
    content: Any = OmegaConf.to_container(OmegaConf.load(folder / f"{name}.yaml"), resolve=False)
    schema = next(
        kind
        for entry in content.pop("defaults")
        if isinstance(entry, dict)
        for group, kind in entry.items()
        if group.startswith("/schema/corpus")
    )
    if options:
        content["options"] = {**content.get("options", {}), **options}
    try:
        merged = OmegaConf.merge(OmegaConf.structured(SCHEMAS["corpus"][schema]), content)
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise UserError(f"corpus={name}: {str(error).splitlines()[0]}") from None
    assert isinstance(config, CorpusConfig)
    if examples is not None and isinstance(config, GeneratedConfig):
        return replace(config, examples=examples)
    if examples is not None and isinstance(config, GrammarConfig):
        return replace(config, sentences=examples)
    return config
