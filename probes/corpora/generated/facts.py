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
from probes.corpora.generated.data.fact_table import FACTS, Fact, by_block
from probes.corpora.generated.data.fact_templates import SUBJECTS, opening, statement
from probes.corpora.generated.kit.blocks import blocks, write
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import Generated, Prompt

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


def generate(config: GeneratedConfig) -> Generated:
    """Statements of facts without their last word. See ``HOLD_OUT`` for what is held out."""
    hold_out = options(config.name, config.options, DEFAULTS)["hold_out"]
    if hold_out not in HOLD_OUT:
        raise UserError(
            f"corpus.options.hold_out={hold_out}",
            allowed=", ".join(HOLD_OUT),
            fix=f"corpus.options.hold_out={closest(hold_out, list(HOLD_OUT))}",
        )
    rng = Random(config.seed)
    new = hold_out == "subject"
    return Generated(
        name=config.name,
        prompts=_new_subjects(rng) if new else _known_subjects(rng),
        group_name="subject" if new else "prompt",
        default_features=("attribute", "continent", "category", "relation")
        if new
        else ("subject", "relation", "subject_relation", "capital"),
        descriptions=DESCRIPTIONS,
    )


def _new_subjects(rng: Random) -> Iterator[Prompt]:
    tables = {relation: by_block(relation) for relation in FACTS}
    for block in blocks():
        relation = rng.choice(list(FACTS))
        facts = tables[relation][block]
        fact = rng.choice(facts[rng.choice(list(facts))])  # first the class: classes are balanced
        begin = opening(rng, fact, block, SUBJECTS[block][relation])
        values = {"relation": relation, relation: fact.answer}
        if relation == "capital":
            del values["capital"]  # each capital has one subject: none could be held out
        else:
            values["attribute"] = fact.answer
        yield _prompt(begin, fact, block, values, group=fact.subject)


def _known_subjects(rng: Random) -> Iterator[Prompt]:
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
        yield _prompt(begin, fact, template, values)


def _prompt(
    begin: str, fact: Fact, block: int, values: dict[str, str], group: str | None = None
) -> Prompt:
    text, _ = write([begin, statement(fact, block)])
    return Prompt(
        text, group or text, block=block, values=values, targets=((len(text), fact.answer),)
    )
