"""The typed configuration: every key that a run understands, with its default.

Hydra validates overrides against these dataclasses (see ``register``); ``conf/`` holds named
choices of values. Library code receives the plain dataclasses, never a DictConfig, and does not
change them (they cannot be frozen: Hydra could then override nothing). This module imports nothing
heavy, so that a mistake on the command line is reported at once.
"""

from __future__ import annotations

from probes.config.corpus import CorpusConfig, GeneratedConfig, RecordsConfig, RowsConfig
from probes.config.corpus_kinds import *  # noqa: F403 - the class of each kind
from probes.config.corpus_kinds import CORPUS_KINDS
from probes.config.methods import (
    AblationConfig,
    AttributionConfig,
    PatchingConfig,
    SteeringConfig,
)
from probes.config.model import (
    ModelConfig,
    SimplifiedConfig,
)
from probes.config.run import (
    AtlasConfig,
    BaselineConfig,
    CustomProbeConfig,
    EvaluationConfig,
    ExtractionConfig,
    LinearConfig,
    LoggerConfig,
    MLPConfig,
    PositionConfig,
    ProbeConfig,
    RunConfig,
    SignificanceConfig,
    SplitConfig,
    TrainerConfig,
)
from probes.config.schema import (
    SCHEMAS,
    ComposedConfig,
    register,
    register_resolvers,
)

__all__ = [
    "CORPUS_KINDS",
    "SCHEMAS",
    "AblationConfig",
    "AtlasConfig",
    "AttributionConfig",
    "BaselineConfig",
    "ComposedConfig",
    "CorpusConfig",
    "CustomProbeConfig",
    "EvaluationConfig",
    "ExtractionConfig",
    "GeneratedConfig",
    "LinearConfig",
    "LoggerConfig",
    "MLPConfig",
    "ModelConfig",
    "PatchingConfig",
    "PositionConfig",
    "ProbeConfig",
    "RecordsConfig",
    "RowsConfig",
    "RunConfig",
    "SignificanceConfig",
    "SimplifiedConfig",
    "SplitConfig",
    "SteeringConfig",
    "TrainerConfig",
    "register",
    "register_resolvers",
]
