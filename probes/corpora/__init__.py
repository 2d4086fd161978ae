"""Texts with gold annotations, groups and splits; nothing here knows of models or tokens."""

from __future__ import annotations

from importlib import import_module

from probes.config import (
    AgendaConfig,
    BenchmarkConfig,
    BioConfig,
    CorpusConfig,
    DatasetsConfig,
    FunctionVectorsConfig,
    GeneratedConfig,
    GrammarConfig,
    IOIConfig,
    MultipleChoiceConfig,
    RelationsConfig,
    SemEvalConfig,
    TableConfig,
    TruthfulQAConfig,
    UDConfig,
)
from probes.core.errors import UserError
from probes.corpora.corpus import Corpus

READERS: dict[type[CorpusConfig], str] = {
    GrammarConfig: "grammar.load",
    GeneratedConfig: "generated",
    UDConfig: "readers.ud",
    BioConfig: "readers.bio",
    TableConfig: "readers.table",
    TruthfulQAConfig: "readers.truthfulqa",
    RelationsConfig: "readers.relations_lre",
    FunctionVectorsConfig: "readers.function_vectors",
    SemEvalConfig: "readers.semeval2010_task8",
    IOIConfig: "readers.ioi_841",
    MultipleChoiceConfig: "readers.multiple_choice",
    BenchmarkConfig: "readers.benchmark",
    AgendaConfig: "readers.agenda",
    DatasetsConfig: "readers.datasets",
}
"""Kind of corpus -> the module whose ``load`` reads it; imported when it is asked for."""


def load_corpus(config: CorpusConfig) -> Corpus:
    """Read or generate the corpus that a config describes.

    The result still has the split its source ships; see ``splits.assign_splits``. Raises
    ``UserError`` for whatever is wrong with the files, naming the file and line.
    """
    for kind in type(config).__mro__:
        if kind in READERS:
            return import_module(f"probes.corpora.{READERS[kind]}").load(config)
    raise UserError(
        f"corpus={config.name}: no such kind of corpus",
        allowed=", ".join(
            module.rpartition("readers.")[2].removesuffix(".load") for module in READERS.values()
        ),
        fix="corpus=grammar",
    )
