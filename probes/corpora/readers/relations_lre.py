"""LRE's relations: prompts about a subject, read where the model is about to name the object.

Data and templates of Hernandez et al. 2023, "Linearity of Relation Decoding in Transformer
Language Models" (arXiv 2308.09124): factual, commonsense, linguistic and bias relations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probes.config import RelationsConfig
from probes.core.errors import UserError, closest
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import UNASSIGNED, Corpus, Level
from probes.corpora.files import existing, json_files, read_json

READ: dict[str, Level] = {"end": "answer", "subject": "span"}
"""Place where features are read -> level of the unit there."""


@dataclass(frozen=True)
class Relation:
    """One file: what is said of which subjects."""

    name: str
    templates: tuple[str, ...]
    """Each with one ``{}`` for the subject."""
    pairs: tuple[tuple[str, str], ...]
    """Subject and object."""


def load(config: RelationsConfig) -> Corpus:
    """The corpus of ``corpus=relations_lre``: every subject in every template of its relations.

    Features: ``relation``, and one named after each relation for its objects that at least
    ``min_shared`` subjects share, where there are two such objects. A subject is one group, in
    all its relations.
    """
    if config.read not in READ:
        raise UserError(
            f"corpus.read={config.read}: no such place",
            allowed=", ".join(READ),
            fix="corpus.read=end",
        )
    builder = CorpusBuilder(config.name, group_name="subject")
    descriptions = {"relation": "which relation the prompt asks about"}
    for relation in read_relations(config):
        shared = _shared(relation, config.min_shared)
        descriptions[relation.name] = f"the object of '{relation.name}', where subjects share it"
        for subject, answer in relation.pairs:
            value = answer if len(shared) > 1 and answer in shared else None
            for template in relation.templates:
                before, after = template.split("{}")
                text = before + subject + after
                example = builder.add_text(text, group=subject, split=UNASSIGNED)
                start, end = (
                    (0, len(text))
                    if config.read == "end"
                    else (len(before), len(before) + len(subject))
                )
                values = {"relation": relation.name, relation.name: value}
                builder.add_unit(example, start, end, READ[config.read], values)
    return builder.build(default_features=builder.features, descriptions=descriptions)


def read_relations(config: RelationsConfig) -> Iterator[Relation]:
    """The relations that the config names, in the order of their file names."""
    path = existing(config.path, "corpus.path")
    files = json_files(path)
    if not files:
        raise UserError(
            f"corpus.path={path} holds no relations", allowed="a JSON file for each relation"
        )
    for name in config.relations or files:
        if name not in files:
            raise UserError(
                f"corpus.relations=[{name}]: {path} has no such relation",
                allowed=", ".join(files),
                fix=f"corpus.relations=[{closest(name, list(files))}]",
            )
        yield _relation(name, files[name], config.max_subjects)


def _relation(name: str, file: Path, most: int | None) -> Relation:
    content: Any = read_json(file)
    try:
        templates = tuple(str(template) for template in content["prompt_templates"])
        found = [(str(s["subject"]).strip(), str(s["object"]).strip()) for s in content["samples"]]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{file} is not a relation of LRE ({type(error).__name__}: {error})",
            allowed="an object with 'prompt_templates' and 'samples' of 'subject' and 'object'",
        ) from error
    wrong = [template for template in templates if template.count("{}") != 1]
    if wrong or not templates:
        raise UserError(
            f"{file}: {f'the template {wrong[0]!r}' if wrong else 'no template'}",
            allowed="templates with one {} for the subject",
        )
    pairs = dict.fromkeys(pair for pair in found if all(pair))
    return Relation(name, templates, tuple(pairs)[:most])


def _shared(relation: Relation, least: int) -> set[str]:
    counts = Counter(answer for _, answer in relation.pairs)
    return {answer for answer, count in counts.items() if count >= least}
