"""Facts as a small table: countries with four attributes and things with their category.

Names are single words, and only attributes that enough subjects share are listed, so that held-out
subjects still have classes that were trained on. A country's language is the one official there,
or the one its state uses most. Compiled by hand from general knowledge (as of 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from probes.corpora.generated.kit.blocks import deal
from probes.corpora.generated.kit.prompt import BLOCKS

# In this order each block gets every continent, language and currency.
_COUNTRIES = {
    "Africa": """Algeria Algiers Arabic -; Egypt Cairo Arabic -; Libya Tripoli Arabic -;
        Tunisia Tunis Arabic -; Sudan Khartoum Arabic -; Kenya Nairobi - -;
        Nigeria Abuja English -; Ghana Accra English -; Namibia Windhoek English dollar;
        Liberia Monrovia English dollar; Senegal Dakar - franc; Mali Bamako - franc;
        Niger Niamey - franc; Togo Lome - franc; Gabon Libreville - franc;
        Zambia Lusaka English -; Cameroon Yaounde - franc; Rwanda Kigali - franc;
        Burundi Gitega - franc; Guinea Conakry - franc; Botswana Gaborone English -""",
    "America": """Chile Santiago Spanish -; Colombia Bogota Spanish -; Cuba Havana Spanish -;
        Honduras Tegucigalpa Spanish -; Nicaragua Managua Spanish -; Peru Lima Spanish -;
        Uruguay Montevideo Spanish -; Venezuela Caracas Spanish -; Paraguay Asuncion Spanish -;
        Brazil Brasilia - -; Canada Ottawa - dollar; Belize Belmopan English dollar;
        Jamaica Kingston English dollar; Barbados Bridgetown English dollar;
        Guyana Georgetown English dollar; Suriname Paramaribo - dollar;
        Dominica Roseau English dollar; Ecuador Quito Spanish dollar""",
    "Asia": """Japan Tokyo - -; China Beijing - -; Nepal Kathmandu - -; Bangladesh Dhaka - -;
        Pakistan Islamabad - -; Iraq Baghdad Arabic -; Jordan Amman Arabic -;
        Lebanon Beirut Arabic -; Qatar Doha Arabic -; Oman Muscat Arabic -; Yemen Sanaa Arabic -;
        Syria Damascus Arabic -; Bahrain Manama Arabic -; Thailand Bangkok - -; Vietnam Hanoi - -;
        Indonesia Jakarta - -; Mongolia Ulaanbaatar - -; Afghanistan Kabul - -; Iran Tehran - -;
        Bhutan Thimphu - -; Laos Vientiane - -""",
    "Europe": """Norway Oslo - -; Sweden Stockholm - -; Poland Warsaw - -; Hungary Budapest - -;
        Denmark Copenhagen - -; Switzerland Bern - franc; Austria Vienna - euro;
        Belgium Brussels - euro; Croatia Zagreb - euro; Estonia Tallinn - euro;
        Finland Helsinki - euro; France Paris - euro; Germany Berlin - euro; Greece Athens - euro;
        Italy Rome - euro; Portugal Lisbon - euro; Latvia Riga - euro; Slovenia Ljubljana - euro;
        Ireland Dublin English euro; Spain Madrid Spanish euro""",
}
"""Continent -> country, capital, language and currency."""

_THINGS = {
    "animal": """horse tiger rabbit camel wolf goat beaver lion monkey donkey squirrel fox""",
    "fruit": "apple banana cherry grape lemon mango peach pear plum apricot melon fig",
    "garment": "coat shirt skirt scarf glove sweater jacket dress blazer sock blouse vest",
    "instrument": """violin piano flute trumpet guitar harp cello clarinet oboe banjo trombone
        organ""",
    "tool": "hammer saw drill wrench chisel mallet screwdriver axe shovel rake spanner crowbar",
    "vehicle": "car truck bus bicycle tram lorry van scooter motorcycle wagon taxi sledge",
}


@dataclass(frozen=True)
class Fact:
    """A subject, a relation, and the one word that the relation assigns to it."""

    subject: str
    relation: str
    answer: str
    block: int


def _facts() -> dict[str, tuple[Fact, ...]]:
    facts: dict[str, list[Fact]] = {}
    for continent, table in _COUNTRIES.items():
        rows = [row.split() for row in table.split(";")]
        for block, dealt in enumerate(deal(rows)):
            for country, *attributes in dealt:
                values = dict(zip(("capital", "language", "currency"), attributes, strict=True))
                for relation, answer in {"continent": continent, **values}.items():
                    if answer != "-":
                        facts.setdefault(relation, []).append(
                            Fact(country, relation, answer, block)
                        )
    for category, words in _THINGS.items():
        for block, things in enumerate(deal(words.split())):
            for thing in things:
                facts.setdefault("category", []).append(Fact(thing, "category", category, block))
    return {relation: tuple(of_relation) for relation, of_relation in facts.items()}


FACTS = _facts()
"""Relation -> its facts; a subject is in the same block in all relations."""

ANSWERS = {
    relation: tuple(sorted({fact.answer for fact in facts})) for relation, facts in FACTS.items()
}
"""Relation -> the words that answer it."""


@cache
def by_block(relation: str) -> list[dict[str, tuple[Fact, ...]]]:
    """(BLOCKS,) answer -> facts of the block with that answer."""
    table: list[dict[str, tuple[Fact, ...]]] = [{} for _ in range(BLOCKS)]
    for fact in FACTS[relation]:
        table[fact.block][fact.answer] = (*table[fact.block].get(fact.answer, ()), fact)
    return table


RELATIONS_OF: dict[str, dict[str, Fact]] = {}
"""Subject -> relation -> fact."""
for _facts_of_relation in FACTS.values():
    for _fact in _facts_of_relation:
        RELATIONS_OF.setdefault(_fact.subject, {})[_fact.relation] = _fact


def draw_fact(rng: Random, relations: Sequence[str], block: int) -> Fact:
    """A fact of a block: first its relation, then its answer, so that classes are balanced."""
    facts = by_block(rng.choice(relations))[block]
    return rng.choice(facts[rng.choice(list(facts))])


def wrong_answers(fact: Fact) -> list[str]:
    """The other answers of a fact's relation; of capitals those of its block, because a capital of
    another block would cross the split."""
    of_block = fact.relation == "capital"
    answers = by_block(fact.relation)[fact.block] if of_block else ANSWERS[fact.relation]
    return [answer for answer in answers if answer != fact.answer]


def draw_other(rng: Random, fact: Fact, text: str) -> Fact:
    """A fact of the same relation and block with another answer, whose subject is not in a text."""
    facts = [
        other
        for answer, of_answer in by_block(fact.relation)[fact.block].items()
        for other in of_answer
        if answer != fact.answer and other.subject not in text
    ]
    return rng.choice(facts)
