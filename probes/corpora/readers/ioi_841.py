"""Indirect object identification: of two names, the one that does not come again is the answer.

The task of Wang et al. 2022, "Interpretability in the Wild" (arXiv 2211.00593), in which name
movers, negative name movers, duplicate-token and inhibition heads were found. Read at END.
"""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

from probes.config import IOIConfig
from probes.config.choices import check_choices
from probes.core.errors import UserError
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import UNASSIGNED, Corpus
from probes.corpora.files import existing, inside, read_json

_PAIR = re.compile(r"\b([A-Z]\w+) and ([A-Z]\w+)\b")
_NOUN = re.compile(r"\b(the|a|an) \w+", re.IGNORECASE)


def load(config: IOIConfig) -> Corpus:
    """The corpus of ``corpus=ioi_841``, grouped by template or by names.

    Features: ``name`` (the indirect object), ``suppressed`` (the subject, which comes twice) and
    ``answer_first`` (whether the answer is the first of the two names, which no list of words
    tells).
    """
    check_choices(config, "corpus.")
    path = existing(config.path, "corpus.path")
    if path.is_dir():
        path = inside(path, "ioi.json", "corpus.path")
    content = read_json(path)
    if not isinstance(content, list):
        raise UserError(f"{path}: not a list of prompts", allowed="ioi.json: a JSON list")
    builder = CorpusBuilder(config.name, group_name=config.group)
    prompts = [_prompt(entry, path, number) for number, entry in enumerate(content, start=1)]
    names = sorted({name for _, *pair, _ in prompts for name in pair})
    for text, first, second, answer in prompts:
        template = _NOUN.sub(r"\1 _", re.sub(rf"\b({first}|{second})\b", "_", text)).lower()
        group = template if config.group == "template" else " ".join(sorted((first, second)))
        example = builder.add_text(text, group=group, split=UNASSIGNED)
        subject = second if answer == first else first
        values = {
            "name": answer,
            "suppressed": subject,
            "answer_first": "yes" if answer == first else "no",
        }
        builder.add_unit(example, 0, len(text), "answer", values)
        builder.add_answer(
            example, len(text), f" {answer}", alternatives=[f" {subject}"], feature="name"
        )
        for kind, (twin, said) in _twins(text, first, second, answer, names).items():
            if twin != text:
                builder.add_contrast(example, twin, kind=kind, answer=said and f" {said}")
    return builder.build(
        default_features=("name", "suppressed", "answer_first"),
        descriptions={
            "name": "the indirect object, which the prompt asks for",
            "suppressed": "the name that comes twice and must not be said",
            "answer_first": "whether the answer is the first of the two names",
        },
    )


def _twins(
    text: str, first: str, second: str, answer: str, names: list[str]
) -> dict[str, tuple[str, str]]:
    """Kind of contrast -> text and its answer, where it has one.

    ``third_name``: the name that comes again is a third one, so that both are as likely;
    ``swapped_order``: the pair the other way round, with the same answer; ``swapped_roles``: the
    other name comes again.
    """
    subject = second if answer == first else first
    pair = re.search(rf"\b{first} and {second}\b", text)
    assert pair is not None  # ``_prompt`` found it

    def again(name: str) -> str:
        """The text with another name where the subject comes again."""
        before, after = text[: pair.end()], text[pair.end() :]
        return before + re.sub(rf"\b{subject}\b", name, after)

    swapped = f"{text[: pair.start()]}{second} and {first}{text[pair.end() :]}"
    twins = {"swapped_order": (swapped, answer), "swapped_roles": (again(answer), subject)}
    third_names = [name for name in names if name not in (first, second)]
    if third_names:
        third = Random(f"twin of {text}").choice(third_names)
        twins = {"third_name": (again(third), ""), **twins}
    return twins


def _prompt(entry: object, path: Path, number: int) -> tuple[str, str, str, str]:
    """Prompt, both names in their order, and the answer."""
    if not isinstance(entry, dict) or not {"prompt", "answer"} <= entry.keys():
        raise UserError(
            f"{path}, entry {number}: not a prompt", allowed="objects with 'prompt' and 'answer'"
        )
    text, answer = str(entry["prompt"]).strip(), str(entry["answer"]).strip()
    for pair in _PAIR.finditer(text):
        if answer in pair.groups():
            return text, pair[1], pair[2], answer
    raise UserError(
        f"{path}, entry {number}: {text[:60]!r} does not name '{answer}' beside another name",
        allowed="prompts with 'A and B', one of which is the answer",
    )
