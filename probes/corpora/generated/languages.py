"""Four people ask in their languages for a colour: in which one is the answer due?

Coherence heads keep the language of the answer that of the one who asked. Every text has a question
in each language, and a statement in any, and so its words do not tell the language of the answer,
only who used them does.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from probes.config import GeneratedConfig
from probes.core.errors import UserError
from probes.corpora.generated.kit.blocks import (
    Part,
    Say,
    blocks,
    deal,
    deal_words,
    others,
    write,
)
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import GeneratedCorpus, Prompt, Twin, twin_random

DEFAULTS = {"people": 4, "fewest": 4, "replies": 1}
LANGUAGES = ("English", "German", "French", "Spanish")
COLOURS = {
    "red": ("red", "rot", "rouge", "rojo"),
    "white": ("white", "weiß", "blanc", "blanco"),
    "black": ("black", "schwarz", "noir", "negro"),
    "green": ("green", "grün", "vert", "verde"),
    "blue": ("blue", "blau", "bleu", "azul"),
    "yellow": ("yellow", "gelb", "jaune", "amarillo"),
}
"""Colour -> the word in each of ``LANGUAGES``, masculine."""

# All nouns are masculine and begin with a consonant in French and Spanish: one form of each colour.
_TABLE = """dog,der Hund,chien,perro; cat,die Katze,chat,gato; book,das Buch,livre,libro;
    sun,die Sonne,soleil,sol; horse,das Pferd,cheval,caballo; bread,das Brot,pain,pan;
    cheese,der Käse,fromage,queso; garden,der Garten,jardin,jardín;
    coat,der Mantel,manteau,abrigo; boat,das Boot,bateau,barco; bridge,die Brücke,pont,puente;
    castle,das Schloss,château,castillo; knife,das Messer,couteau,cuchillo;
    glass,das Glas,verre,vaso; roof,das Dach,toit,techo; fish,der Fisch,poisson,pez;
    duck,die Ente,canard,pato; bag,die Tasche,sac,bolso; basket,der Korb,panier,cesto;
    mirror,der Spiegel,miroir,espejo"""
_NOUNS = deal([tuple(row.strip().split(",")) for row in _TABLE.split(";")])
"""(BLOCKS,) nouns in each of ``LANGUAGES``, the German ones with their article."""
_PEOPLE = deal_words(
    """Anna Boris Clara David Emma Felix Greta Henry Irene Jonas Karen Louis Maria Nora Oscar
    Paula Quentin Rosa Simon Tina Ulrich Vera Walter Yvonne Zoe Adam Bella Carl Dora Erik
    Frida Georg Hilda Igor Julia Klaus Laura Martin Nina Otto"""
)
_STATEMENT = ("The {} is {}.", "{} ist {}.", "Le {} est {}.", "El {} es {}.")
_QUESTION = (
    "What colour is the {}?",
    "Welche Farbe hat {}?",
    "De quelle couleur est le {}?",
    "¿De qué color es el {}?",
)
_REPLY = (
    "Answer {}:",
    "Reply to {}:",
    "Tell {}:",
    "The answer for {} is",
    "Now speak to {}:",
    "Write back to {}:",
    "Explain it to {}:",
    "In one word for {}:",
    "Respond to {}:",
    "What {} wants to hear is",
)

DESCRIPTIONS = {
    "language": "language of the one to be answered, and so of the answer",
    "statement_language": "language of the statement",
    "meaning": "colour that the answer means, in whatever language",
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """A statement, a question in each language, and a request to answer one of them.

    ``people``: how many ask at most, each in another language, and ``fewest`` how many at least
    (all, if fewer ask at most);
    the words of a text with fewer than four leave fewer answers. ``replies``: how many requests
    there are, all but the last with their answers and for any person; more train a simplified
    model sooner, and may tell the last answer.
    """
    given = options(config.name, config.options, DEFAULTS)
    given["fewest"] = min(given["fewest"], given["people"])
    bounds = (("people", 2, len(LANGUAGES)), ("fewest", 2, len(LANGUAGES)), ("replies", 1, 8))
    for name, least, most in bounds:
        if not least <= given[name] <= most:
            raise UserError(
                f"corpus.options.{name}={given[name]}",
                allowed=f"{least} to {most}",
                fix=f"corpus.options.{name}={DEFAULTS[name]}",
            )
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(Random(config.seed), twin_random(config), **given),
        group_name="prompt",
        default_features=("language",),
        descriptions=DESCRIPTIONS,
    )


def _prompts(
    rng: Random, draws: Random, people: int, fewest: int, replies: int
) -> Iterator[Prompt]:
    for block in blocks():
        noun, colour = rng.choice(_NOUNS[block]), rng.choice(list(COLOURS))
        told = rng.randrange(len(LANGUAGES))
        # No draw where nothing is to be drawn: the usual corpus stays what it was.
        count = people if fewest == people else rng.randint(fewest, people)
        spoken = rng.sample(range(len(LANGUAGES)), count)
        asking = rng.sample(_PEOPLE[block], count)
        said = _STATEMENT[told].format(noun[told], COLOURS[colour][told])
        parts: list[Part] = [said[0].upper() + said[1:]]
        for person, language in zip(asking, spoken, strict=True):
            question = f"{person}: {_QUESTION[language].format(noun[language])}"
            parts += [question, Say(COLOURS[colour][language])]
        before, after = _REPLY[block].split("{}")
        due = [COLOURS[colour][language] for language in spoken]
        for _ in range(replies):
            answered = rng.randrange(count)
            language, word = spoken[answered], due[answered]
            parts += [before + asking[answered], Say(LANGUAGES[language]), after.strip()]
            parts += [Say(word, others(due, word), "language"), word, "."]
        other = draws.choice([number for number in range(count) if number != answered])
        twin = write([*parts[:-6], before + asking[other], after.strip()]).text
        yield write(parts[:-2]).prompt(
            block=block,
            values={
                "language": LANGUAGES[language],
                "statement_language": LANGUAGES[told],
                "meaning": colour,
            },
            twins=[Twin("other_person", twin, due[other])],
        )
