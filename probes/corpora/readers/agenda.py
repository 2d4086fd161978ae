"""AGENDA: which kind of scientific term is this? Read at the terms of abstracts.

Koncel-Kedziorski et al. 2019, "Text Generation from Knowledge Graphs with Graph Transformers"
(arXiv 1904.02342). A record has a title, the entities of the abstract, their types in one string
of <tags>, relations ``a -- USED-FOR -- b``, and the abstract as it was written.
"""

from __future__ import annotations

import re

from probes.config import AgendaConfig
from probes.core.errors import UserError
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import Corpus
from probes.corpora.readers.records import Record, records


def load(config: AgendaConfig) -> Corpus:
    """The corpus of ``corpus=agenda``; a paper is a group.

    Features at each mention of an entity: ``entity_type``, and ``relation`` where the abstract's
    graph has exactly one with this entity as its source.
    """
    builder = CorpusBuilder(config.name, group_name="title")
    long = 0
    for record in records(config):
        text = str(record.column("abstract_og", "path")).strip()
        if len(text) > config.max_characters:
            long += 1
            continue
        values = _entities(record)
        example = builder.add_text(
            text, group=str(record.column("title", "path")), split=record.split
        )
        taken = [False] * len(text)
        for name in sorted(values, key=lambda name: (-len(name), name)):  # the longest match counts
            for match in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE):
                start, end = match.span()
                if not any(taken[start:end]):
                    taken[start:end] = [True] * (end - start)
                    builder.add_unit(example, start, end, "span", values[name])
    return builder.build(
        default_features=("entity_type", "relation"),
        descriptions={
            "entity_type": "task, method, metric, material or another scientific term",
            "relation": "what the term is to another one of the abstract",
        },
        notes=[f"{long} abstracts longer than {config.max_characters} characters left out"]
        if long
        else [],
    )


def _entities(record: Record) -> dict[str, dict[str, str | None]]:
    """Entity -> its values of the features."""
    entities = record.column("entities", "path")
    types = re.findall(r"<(\w+)>", str(record.column("types", "path")))
    if not isinstance(entities, list) or len(entities) != len(types):
        raise UserError(
            f"{record.place}: {len(types)} types for the entities {str(entities)[:60]}",
            allowed="a list of entities, and a string with a <type> for each",
        )
    relations: dict[str, set[str]] = {}
    for triple in record.column("relations", "path"):
        source, _, rest = str(triple).partition(" -- ")
        relations.setdefault(source.strip(), set()).add(rest.partition(" -- ")[0].strip())
    values: dict[str, dict[str, str | None]] = {}
    for entity, kind in zip(entities, types, strict=True):
        name = str(entity).strip()
        of_entity = relations.get(name, set())
        relation = next(iter(of_entity)) if len(of_entity) == 1 else None
        if name:
            values[name] = {"entity_type": kind, "relation": relation}
    return values
