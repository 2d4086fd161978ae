"""How a fact is put into words: ten ways to state each relation, one for each block.

A statement breaks off where the answer follows. Openings mention another subject of the block, so
that the text holds more than one candidate.
"""

from __future__ import annotations

from random import Random

from probes.corpora.generated.data.fact_table import FACTS, Fact
from probes.corpora.generated.kit.blocks import deal_words
from probes.corpora.generated.kit.prompt import BLOCKS

STATEMENTS: dict[str, tuple[str, ...]] = {
    "capital": (
        "The capital of {} is",
        "{} is governed from",
        "The ministers of {} work in",
        "As its capital, {} has",
        "The seat of the government of {} is in",
        "Embassies in {} are usually found in",
        "The capital city that belongs to {} is called",
        "On a map of {}, the star marks",
        "{} has the central offices of its state in",
        "Whoever governs {} sits in",
    ),
    "continent": (
        "The continent of {} is",
        "{} lies in",
        "Travellers to {} arrive in",
        "You find {} on the map of",
        "The land of {} is a part of",
        "{} is one of the countries of",
        "Among the continents, {} belongs to",
        "The people of {} live in",
        "The rivers of {} flow through",
        "Anyone born in {} is born in",
    ),
    "language": (
        "The language of {} is",
        "The laws of {} are written in",
        "People in {} speak",
        "Officials of {} answer letters in",
        "Newspapers in {} are printed in",
        "In {}, schools teach in",
        "Signs on the roads of {} are in",
        "To talk with the people of {}, learn",
        "The radio in {} speaks",
        "In the courts of {} one hears",
    ),
    "currency": (
        "The currency of {} is the",
        "Shops in {} accept the",
        "People in {} pay with the",
        "Money in {} is called the",
        "Prices in {} are given in the",
        "Banks in {} count in the",
        "A bill in {} is settled with the",
        "Wages in {} are paid in the",
        "Before a trip to {}, buy some of the",
        "The coins of {} carry the name of the",
    ),
    "category": (
        "The {} is a kind of",
        "The word {} stands for some sort of",
        "By category, the {} is an example of",
        "A dictionary lists {} under the heading",
        "The {} belongs to the class called",
        "What we call {} is a type of",
        "Whatever is called {} counts as",
        "Children learn that {} is the name of some",
        "The {} may be described as one more",
        "Sorted by kind, {} goes with the label",
    ),
}
"""Relation -> (BLOCKS,) statement without its last word."""

_WHEN = [
    "Today",
    "Yesterday",
    "Tonight",
    "Once",
    "Recently",
    "Lately",
    "Earlier",
    "Sometimes",
    "Often",
    "Again",
]
_WHO = deal_words(
    """we you somebody they everyone pupils neighbours experts visitors children friends
    writers sailors students farmers singers guests players soldiers readers drivers doctors
    actors hunters poets cooks nurses bakers clerks waiters"""
)
_DID = ("spoke about", "wrote about", "thought of")

SUBJECTS: list[dict[str, tuple[str, ...]]] = [
    {
        relation: tuple(dict.fromkeys(f.subject for f in FACTS[kind] if f.block == block))
        for relation in FACTS
        for kind in ("category" if relation == "category" else "continent",)
    }
    for block in range(BLOCKS)
]
"""(BLOCKS,) relation -> all things or all countries of the block."""


def statement(fact: Fact, wording: int) -> str:
    """The fact without its answer, in one of the wordings of its relation."""
    return STATEMENTS[fact.relation][wording].format(fact.subject)


def opening(rng: Random, fact: Fact, wording: int, others: tuple[str, ...]) -> str:
    """A sentence about one of ``others`` that is not the fact's subject; or, rarely, nothing."""
    choices = [other for other in others if other != fact.subject]
    if not choices or rng.random() < 0.1:
        return ""
    other = rng.choice(choices)
    named = f"the {other}" if fact.relation == "category" else other
    return f"{_WHEN[wording]} {rng.choice(_WHO[wording])} {rng.choice(_DID)} {named}."
