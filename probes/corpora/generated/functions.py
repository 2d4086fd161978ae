"""Few-shot demonstrations of a function of words: which one is it, and what does it give?

Function vectors carry the task that demonstrations define (Todd et al. 2024, arXiv 2310.15213).
Every kind of word takes several functions, so the inputs do not tell the task, only inputs and
outputs together; a block has its own words and its own way to write a demonstration.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random

from probes.config import GeneratedConfig
from probes.core.errors import UserError
from probes.corpora.answers import derange
from probes.corpora.generated.data.function_words import ADJECTIVES, NOUNS, VERBS
from probes.corpora.generated.kit.blocks import Part, Say, blocks, deal, write
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import BLOCKS, GeneratedCorpus, Prompt, Twin, twin_random

DEFAULTS = {"demonstrations": 4}

_WORDS: dict[str, list[tuple[tuple[str, ...], ...]]] = {
    "noun": deal(NOUNS),
    "verb": deal(VERBS),
    "adjective": deal(ADJECTIVES),
}
"""Kind -> (BLOCKS,) words, each a tuple of its forms, the input first."""

_OWN = {
    "noun": {"plural": 1},
    "verb": {"past": 1, "gerund": 2},
    "adjective": {"antonym": 1},
}
"""Kind -> functions that only it takes, and which form they give."""
_SHARED = ("capitalise", "first_letter", "copy")
TASKS = (*_SHARED, *(task for own in _OWN.values() for task in own))

LETTERS = "bcdflmprst"
"""Initials that every block has."""

_WRITTEN = (
    ("{}: {}", ","),
    ("{} = {}", ";"),
    ("Input {} output {}", "."),
    ("from {} to {}", ","),
    ("{} becomes {}", "."),
    ("Q: {} A: {}", "."),
    ("give {} get {}", ";"),
    ("{} | {}", "|"),
    ("in {} out {}", ","),
    ("{} / {}", "/"),
)
"""(BLOCKS,) a demonstration and what ends it."""

MOST = min(len(dealt[block]) for dealt in _WORDS.values() for block in range(BLOCKS)) - 1

DESCRIPTIONS = {
    "task": "which function the demonstrations define",
    "output": "the answer, where it is a letter",
    "kind": "part of speech of the inputs",
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """Demonstrations, then an input without its output."""
    count = options(config.name, config.options, DEFAULTS)["demonstrations"]
    if not 1 <= count <= MOST:
        raise UserError(
            f"corpus.options.demonstrations={count}",
            allowed=f"1 to {MOST}",
            fix=f"corpus.options.demonstrations={DEFAULTS['demonstrations']}",
        )
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(Random(config.seed), twin_random(config), count),
        group_name="prompt",
        default_features=("task", "output"),
        descriptions=DESCRIPTIONS,
    )


def apply(task: str, kind: str, forms: tuple[str, ...]) -> str:
    """What a function gives for a word, from its forms."""
    if task == "capitalise":
        return forms[0].capitalize()
    if task == "first_letter":
        return forms[0][0]
    return forms[0] if task == "copy" else forms[_OWN[kind][task]]


def _prompts(rng: Random, draws: Random, count: int) -> Iterator[Prompt]:
    for block in blocks():
        task = rng.choice(TASKS)
        words = {
            kind: _facing(rng, kind, block)
            for kind in _WORDS
            if task in _SHARED or task in _OWN[kind]
        }
        kind = rng.choice(list(words))
        if task == "first_letter":  # letters are classes: equally frequent, whatever the kind
            letters = {x[0][0] for forms in words.values() for x in forms} & set(LETTERS)
            letter = rng.choice(sorted(letters))
            kind = rng.choice([k for k in words if any(x[0][0] == letter for x in words[k])])
            asked = rng.choice([x for x in words[kind] if x[0][0] == letter])
        else:
            asked = rng.choice(words[kind])
        shown = rng.sample([x for x in words[kind] if x != asked], count)

        written, end = _WRITTEN[block]
        parts: list[Part] = []
        for forms in (*shown, asked):
            answer = apply(task, kind, forms)
            outputs = {apply(other, kind, forms) for other in (*_SHARED, *_OWN[kind])}
            feature = "output" if task == "first_letter" else ""
            # The first demonstration is the only one whose output nothing says.
            said = Say(answer, tuple(sorted(outputs - {answer})), feature) if parts else ""
            parts += [written.format(forms[0], "").rstrip(), said, answer, end]
        values = {"task": task, "kind": kind}
        if task == "first_letter":
            values["output"] = answer
        pairs = [(forms[0], apply(task, kind, forms)) for forms in shown]
        unused = [x for x in words[kind] if x not in shown and apply(task, kind, x) != answer]
        twins = []
        if unused:
            other = draws.choice(unused)
            text = _text(block, pairs, other[0])
            twins.append(Twin("other_input", text, apply(task, kind, other)))
        shuffled = derange(draws, [output for _, output in pairs])
        if shuffled is not None:
            mixed = zip([given for given, _ in pairs], shuffled, strict=True)
            twins.append(Twin("shuffled_outputs", _text(block, mixed, asked[0])))
        yield write(parts[:-2]).prompt(block=block, values=values, twins=twins)


def _text(block: int, pairs: Iterable[tuple[str, str]], asked: str) -> str:
    """Demonstrations in the wording of a block, and an input without its output."""
    written, end = _WRITTEN[block]
    parts: list[Part] = []
    for given, output in pairs:
        parts += [written.format(given, "").rstrip(), output, end]
    return write([*parts, written.format(asked, "").rstrip()]).text


def _facing(rng: Random, kind: str, block: int) -> list[tuple[str, ...]]:
    """The words of a block, of opposites either: both in one prompt would give the answer away."""
    words = _WORDS[kind][block]
    if kind != "adjective":
        return list(words)
    return [forms[:: rng.choice((1, -1))] for forms in words]
