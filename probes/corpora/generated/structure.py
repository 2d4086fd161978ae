"""Structure of word sequences: what precedes a word, where it stands, whether it has occurred.

Words follow each other at random in short sentences, drawn by rank with a Zipf-like preference for
frequent ones. Every second word or so repeats an earlier one of its text, whatever its rank, so
that frequent words are not duplicates more often than rare ones. A question at the end asks for
the rarest word, which has to be compared with all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from probes.config import GeneratedConfig
from probes.core.errors import UserError
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import Expected, GeneratedCorpus, Mark, Prompt
from probes.corpora.generated.kit.writing import Writer, evenly, words

WORDS = words(
    """
    time people way day man thing woman life child world hand part place case week company point
    home water room mother area money story fact month lot right bread river glass horse forest
    winter violin turtle pepper hammer lantern falcon quartz gargoyle abacus sextant obelisk zither
    """
)
"""From the most frequent to the rarest."""
BANDS = {"rank 1-28": 28, "rank 29-34": 6, "rank 35-40": 6, "rank 41-46": 6}
"""Ranks in four bands; every rarest word is of one of the last three."""

DEFAULTS = {"length": 40, "marked": 16}
"""Words of a text without the question; words at which features are read."""
REPEATED = 0.5  # of the words; the others are new in their text
LEAD = 6
"""The first words of a text are all different, and nothing is asked of their being duplicates."""
POSITION = 8
DISTANCE = (2, 4, 8, 16)
"""Where classes of distances begin; no word follows itself."""

DESCRIPTIONS = {
    "previous_word": "the word before, where it is one of the frequent ones",
    "position": "words before this one in the text, full stops included",
    "sentence_start_distance": "words before this one in its sentence",
    "rarest_so_far": "rank of the rarest word up to here, at frequent words",
    "duplicate": "whether the word has occurred before",
    "duplicate_distance": "words back to its last occurrence",
    "answer": "the rarest word of the text",
}


@dataclass(frozen=True)
class _Body:
    """The words of a text and for each the start of its sentence."""

    words: list[str]
    sentence: list[int]
    rarest: str


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """Texts of random words, each a group of its own: no word depends on the structure."""
    chosen = options(config.name, config.options, DEFAULTS)
    if not 12 <= chosen["length"] <= 60:
        raise UserError(
            f"corpus.options.length={chosen['length']}: half of the words are new to their text, "
            f"and there are {len(WORDS)}",
            allowed="12 to 60",
            fix="corpus.options.length=40",
        )
    if chosen["marked"] < 1:
        raise UserError(f"corpus.options.marked={chosen['marked']}", allowed="1 or more")
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(config, chosen),
        group_name="text",
        default_features=(
            "previous_word",
            "position",
            "sentence_start_distance",
            "rarest_so_far",
            "duplicate",
            "duplicate_distance",
        ),
        descriptions=DESCRIPTIONS,
    )


def _prompts(config: GeneratedConfig, chosen: dict[str, int]) -> Iterator[Prompt]:
    rng = Random(f"{config.name} {config.seed}")
    frequent = BANDS["rank 1-28"]
    answers = evenly(WORDS[frequent:], rng)
    while True:
        body = _body(rng, chosen["length"], next(answers))
        writer = Writer()
        writer.add(*body.words)
        words = [index for index, word in enumerate(body.words) if word != "."]
        marked = sorted(rng.sample(words, min(chosen["marked"], len(words))))
        writer.add("rarest")
        commoner = tuple(sorted(set(body.words) - {body.rarest, "."}))
        answer = Expected(len(writer.text), body.rarest, commoner, "answer")
        yield Prompt(
            text=writer.text,
            group=" ".join(body.words),
            marks=tuple(_mark(writer, body, index) for index in marked),
            values={"answer": body.rarest},
            targets=((answer.offset, answer.word),),
            answers=(answer,),
        )


def _body(rng: Random, length: int, rarest: str) -> _Body:
    """Sentences of 4 to 9 words; ``rarest`` comes once, somewhere, and all others are commoner."""
    top = _band_start(WORDS.index(rarest))
    fresh = rng.sample(WORDS[:top], top)
    weight = {word: 1 / (WORDS.index(word) + 8) for word in fresh}
    chosen = rng.randrange(length)
    words: list[str] = []
    for index in range(length):
        back = {word: index - place for place, word in enumerate(words) if word != rarest}
        ranges = [
            [word for word, distance in back.items() if low <= distance < high]
            for low, high in pairwise((*DISTANCE, length))
        ]
        if index == chosen:
            words.append(rarest)
        elif index >= LEAD and (rng.random() < REPEATED or not fresh):
            words.append(rng.choice(rng.choice([found for found in ranges if found])))
        else:
            word = rng.choices(fresh, [weight[word] for word in fresh])[0]
            fresh.remove(word)
            words.append(word)
    written: list[str] = []
    sentence: list[int] = []
    while words:
        size = rng.randint(4, 9)
        size = len(words) if len(words) - size < 4 else size
        sentence += [len(written)] * (size + 1)
        written += [*words[:size], "."]
        words = words[size:]
    return _Body(written, sentence, rarest)


def _band_start(rank: int) -> int:
    start = 0
    for size in BANDS.values():
        if rank < start + size:
            break
        start += size
    return start


def _mark(writer: Writer, body: _Body, index: int) -> Mark:
    word, before = body.words[index], body.words[:index]
    values = {
        "position": _range(index // POSITION * POSITION, POSITION),
        "sentence_start_distance": str(min(index - body.sentence[index], 6)),
    }
    if index > LEAD:
        values["duplicate"] = "yes" if word in before else "no"
    common = WORDS[: BANDS["rank 1-28"]]
    if before and before[-1] in common:
        values["previous_word"] = before[-1]
    if word in common:  # so that this word is never the one that counts
        rank = max(WORDS.index(other) for other in (*before, word) if other != ".")
        values["rarest_so_far"] = _band(rank)
    if word in before:
        values["duplicate_distance"] = _bucket(before[::-1].index(word) + 1, DISTANCE)
    return writer.mark(index, values)


def _band(rank: int) -> str:
    start = _band_start(rank)
    return next(name for name in BANDS if name.startswith(f"rank {start + 1}-"))


def _range(start: int, width: int) -> str:
    return f"{start:02d}-{start + width - 1:02d}"


def _bucket(value: int, starts: Sequence[int]) -> str:
    """The class of a distance: ``1``, ``2-3``, ``4-7``, ..., or open at the end."""
    for low, high in pairwise(starts):
        if value < high:
            return f"{low:02d}-{high - 1:02d}" if high - 1 > low else f"{low:02d}"
    return f"{starts[-1]:02d} or more"
