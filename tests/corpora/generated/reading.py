"""How the tests read the prompts of generated corpora."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

from probes.config import GeneratedConfig
from probes.corpora.generated import generate
from probes.corpora.generated.kit.prompt import Prompt


def prompts(name: str, count: int = 400, *, seed: int = 7, **options: Any) -> list[Prompt]:
    """The first prompts of a generated corpus."""
    config = GeneratedConfig(name=name, seed=seed, options=options)
    return list(islice(generate(config).prompts, count))


def words(text: str) -> list[str]:
    """Words and signs of a text."""
    return re.findall(r"\w+|[^\w\s]", text)


def said(prompt: Prompt) -> str:
    """What is said at the end."""
    return prompt.targets[-1][1]


def along(prompt: Prompt) -> list[str]:
    """What is said before the end."""
    assert [offset for offset, _ in prompt.targets] == sorted({o for o, _ in prompt.targets})
    return [word for _, word in prompt.targets[:-1]]


def marked(prompt: Prompt, feature: str) -> dict[str, str]:
    """Text of the marks of a feature -> class."""
    return {
        prompt.text[m.start : m.end]: m.values[feature] for m in prompt.marks if feature in m.values
    }


def marked_words(prompt: Prompt) -> list[tuple[int, dict[str, str]]]:
    """Number of each marked word in its text, and its classes."""
    return [(len(words(prompt.text[: m.start])), dict(m.values)) for m in prompt.marks]


def followers(text: list[str], index: int) -> set[str]:
    """What has followed the word ``index`` wherever it occurred before."""
    return {text[i + 1] for i in range(index) if text[i] == text[index]}


def lag(text: list[str], index: int) -> int:
    """Words back to the last occurrence of the word ``index``; 0: there is none."""
    return text[:index][::-1].index(text[index]) + 1 if text[index] in text[:index] else 0
