"""Indirect object identification: of two names, the one that does not come again is the answer.

The task of Wang et al. 2022, "Interpretability in the Wild" (arXiv 2211.00593), in which name
movers, negative name movers, duplicate-token and inhibition heads were found. Read at END.
"""

from __future__ import annotations

import re
from pathlib import Path

from probes.config import IOIConfig
from probes.core.errors import UserError
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import UNASSIGNED, Corpus
from probes.corpora.files import existing, inside, read_json

_PAIR = re.compile(r"\b([A-Z]\w+) and ([A-Z]\w+)\b")
_NOUN = re.compile(r"\b(the|a|an) \w+", re.IGNORECASE)


GROUPS = ("template", "names")


def load(config: IOIConfig) -> Corpus:
    """The corpus of ``corpus=ioi_841``, grouped by template or by names.

    Features: ``name`` (the indirect object), ``suppressed`` (the subject, which comes twice) and
    ``answer_first`` (whether the answer is the first of the two names, which no list of words
    tells).
    """
    if config.group not in GROUPS:
        raise UserError(
            f"corpus.group={config.group}: no such grouping",
            allowed=", ".join(GROUPS),
            fix="corpus.group=template",
        )
    path = existing(config.path, "corpus.path")
    if path.is_dir():
        path = inside(path, "ioi.json", "corpus.path")
    content = read_json(path)
    if not isinstance(content, list):
        raise UserError(f"{path}: not a list of prompts", allowed="ioi.json: a JSON list")
    builder = CorpusBuilder(config.name, group_name=config.group)
    for number, entry in enumerate(content, start=1):
        text, first, second, answer = _prompt(entry, path, number)
        template = _NOUN.sub(r"\1 _", re.sub(rf"\b({first}|{second})\b", "_", text)).lower()
        group = template if config.group == "template" else " ".join(sorted((first, second)))
        example = builder.add_text(text, group=group, split=UNASSIGNED)
        values = {
            "name": answer,
            "suppressed": second if answer == first else first,
            "answer_first": "yes" if answer == first else "no",
        }
        builder.add_unit(example, 0, len(text), "answer", values)
    return builder.build(
        default_features=("name", "suppressed", "answer_first"),
        descriptions={
            "name": "the indirect object, which the prompt asks for",
            "suppressed": "the name that comes twice and must not be said",
            "answer_first": "whether the answer is the first of the two names",
        },
    )


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
