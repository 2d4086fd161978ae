"""Recall of facts: which attribute of a subject is asked for, and what it is.

Statements break off before the answer, as in LRE (Hernandez et al. 2024, arXiv 2308.09124) and
World-Capital. Associative memory and memory heads carry the attribute at END, subject and relation
heads what it is asked of and asked for, mixed heads both at once (Chughtai et al. 2024, arXiv
2402.07321).
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from probes.config import GeneratedConfig
from probes.core.errors import UserError, closest
from probes.corpora.generated.data.fact_table import (
    FACTS,
    RELATIONS_OF,
    Fact,
    draw_fact,
    draw_other,
    wrong_answers,
)
from probes.corpora.generated.data.fact_templates import STATEMENTS, SUBJECTS, opening, statement
from probes.corpora.generated.kit.blocks import Say, blocks, write
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import GeneratedCorpus, Prompt, Twin, twin_random

DEFAULTS = {"hold_out": "subject"}
HOLD_OUT = ("subject", "template")
"""subject: subjects and templates of the test split are new. template: only templates are, and the
subjects, those of which all four attributes are known, are classes themselves."""

DESCRIPTIONS = {
    "attribute": "the answer, of relations whose answers are shared by many subjects",
    "capital": "the capital asked for; it stands for its country, one to one",
    "continent": "the continent asked for",
    "language": "the language asked for",
    "currency": "the currency asked for",
    "category": "the category asked for",
    "relation": "which attribute is asked for",
    "subject": "whose attribute is asked for",
    "subject_relation": "whose attribute is asked for, and which",
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """Statements of facts without their last word. See ``HOLD_OUT`` for what is held out."""
    hold_out = options(config.name, config.options, DEFAULTS)["hold_out"]
    if hold_out not in HOLD_OUT:
        raise UserError(
            f"corpus.options.hold_out={hold_out}",
            allowed=", ".join(HOLD_OUT),
            fix=closest(hold_out, list(HOLD_OUT), "corpus.options.hold_out={}"),
        )
    rng, draws = Random(config.seed), twin_random(config)
    new = hold_out == "subject"
    return GeneratedCorpus(
        name=config.name,
        prompts=_new_subjects(rng, draws) if new else _known_subjects(rng, draws),
        group_name="subject" if new else "prompt",
        default_features=("attribute", "continent", "category", "relation")
        if new
        else ("subject", "relation", "subject_relation", "capital"),
        descriptions=DESCRIPTIONS,
    )


def _new_subjects(rng: Random, draws: Random) -> Iterator[Prompt]:
    for block in blocks():
        fact = draw_fact(rng, list(FACTS), block)
        begin = opening(rng, fact, block, SUBJECTS[block][fact.relation])
        values = {"relation": fact.relation}
        if fact.relation != "capital":  # each capital has one subject: none could be held out
            values[fact.relation] = values["attribute"] = fact.answer
        other = draw_other(draws, fact, begin)
        yield _prompt(draws, begin, fact, other, block, values, group=fact.subject)


def _known_subjects(rng: Random, draws: Random) -> Iterator[Prompt]:
    relations = [relation for relation in FACTS if relation != "category"]
    known = {relation: {fact.subject: fact for fact in FACTS[relation]} for relation in relations}
    subjects = [s for s in known["continent"] if all(s in known[r] for r in relations)]
    for template in blocks():
        relation, subject = rng.choice(relations), rng.choice(subjects)
        fact = known[relation][subject]
        values = {
            "subject": subject,
            "relation": relation,
            "subject_relation": f"{subject} {relation}",
        }
        if relation == "capital":  # the others have too few answers among these subjects
            values["capital"] = fact.answer
        begin = opening(rng, fact, template, tuple(subjects))
        candidates = [known[relation][s] for s in subjects if s not in begin]
        other = draws.choice([f for f in candidates if f.answer != fact.answer])
        yield _prompt(draws, begin, fact, other, template, values)


def _prompt(
    draws: Random,
    begin: str,
    fact: Fact,
    other: Fact,
    wording: int,
    values: dict[str, str],
    group: str | None = None,
) -> Prompt:
    twin = write([begin, statement(other, wording)]).text
    twins = [Twin("other_subject", twin, other.answer)]
    wordings = _AS_LONG[fact.relation, wording]
    related = [
        (related, other_wording)
        for relation, related in RELATIONS_OF[fact.subject].items()
        for other_wording in wordings.get(relation, ())
    ]
    if related:
        asked, other_wording = draws.choice(related)
        twin = write([begin, statement(asked, other_wording)]).text
        twins.append(Twin("other_relation", twin, asked.answer))
    feature = fact.relation if fact.relation in values else ""
    said = Say(fact.answer, tuple(wrong_answers(fact)), feature)
    return write([begin, statement(fact, wording), said]).prompt(
        group, block=wording, values=values, twins=twins
    )


def _as_long(relation: str, wording: int) -> dict[str, tuple[int, ...]]:
    """Other relation -> its wordings with as many words."""
    words = len(STATEMENTS[relation][wording].split())
    return {
        other: tuple(n for n, text in enumerate(statements) if len(text.split()) == words)
        for other, statements in STATEMENTS.items()
        if other != relation
    }


_AS_LONG = {
    (relation, wording): _as_long(relation, wording)
    for relation, statements in STATEMENTS.items()
    for wording in range(len(statements))
}
