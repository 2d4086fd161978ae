"""LRE's relations: prompts about a subject, read where the model is about to name the object.

Data and templates of Hernandez et al. 2023, "Linearity of Relation Decoding in Transformer
Language Models" (arXiv 2308.09124): factual, commonsense, linguistic and bias relations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from probes.config import RelationsConfig
from probes.config.choices import check_choices
from probes.core.errors import UserError, closest
from probes.corpora.answers import count_words
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import UNASSIGNED, Corpus, Level
from probes.corpora.files import existing, json_files, read_json

MOST_ALTERNATIVES = 10
"""The most frequent objects of the relation."""
TRIES = 50
"""Draws of another subject that fits."""

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
    check_choices(config, "corpus.")
    builder = CorpusBuilder(config.name, group_name="subject")
    descriptions = {"relation": "which relation the prompt asks about"}
    for relation in read_relations(config):
        shared = _shared(relation, config.min_shared)
        answers = [answer for answer, _ in Counter(a for _, a in relation.pairs).most_common()]
        descriptions[relation.name] = f"the object of '{relation.name}', where subjects share it"
        right: dict[str, set[str]] = {}
        for subject, answer in relation.pairs:
            right.setdefault(subject, set()).add(answer)
        for subject, answer in relation.pairs:
            wrong = [each for each in answers if each not in right[subject]]
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
                builder.add_answer(
                    example,
                    len(text),
                    _spaced(text, answer),
                    alternatives=[_spaced(text, each) for each in wrong[:MOST_ALTERNATIVES]],
                    feature="" if value is None else relation.name,
                )
                other = _other(relation, subject, answer, text)
                if other is not None:
                    twin = before + other[0] + after
                    said = _spaced(twin, other[1])
                    builder.add_contrast(example, twin, kind="other_subject", answer=said)
    return builder.build(default_features=builder.features, descriptions=descriptions)


def _spaced(text: str, answer: str) -> str:
    """An answer as the text goes on with it."""
    return answer if text[-1:].isspace() else f" {answer}"


def _other(relation: Relation, subject: str, answer: str, text: str) -> tuple[str, str] | None:
    """Another subject of as many words and with another object; None if none is drawn."""
    draws = Random(f"twin of {text}")
    for _ in range(TRIES):
        other = draws.choice(relation.pairs)
        as_long = count_words(other[0]) == count_words(subject)
        if as_long and subject != other[0] and answer != other[1]:
            return other
    return None


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
                fix=closest(name, list(files), "corpus.relations=[{}]"),
            )
        yield _relation(name, files[name], config.max_subjects)


def _relation(name: str, file: Path, most: int | None) -> Relation:
    content: Any = read_json(file)
    try:
        templates = tuple(str(template) for template in content["prompt_templates"])
        samples = [
            (str(s["subject"]).strip(), str(s["object"]).strip()) for s in content["samples"]
        ]
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
    pairs = dict.fromkeys(pair for pair in samples if all(pair))
    return Relation(name, templates, tuple(pairs)[:most])


def _shared(relation: Relation, least: int) -> set[str]:
    counts = Counter(answer for _, answer in relation.pairs)
    return {answer for answer, count in counts.items() if count >= least}
