"""Words as the tokenizer of a simplified model sees them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from probes.core.errors import UserError

PATTERN = r"\w+|[^\w\s]"


def words(text: str) -> list[str]:
    """The tokens of a text: runs of letters and digits, and every other sign by itself."""
    return re.findall(PATTERN, text)


def require_known(tokenizer: Any, texts: Iterable[str], where: str) -> None:
    """Raise ``UserError`` that names the words of the texts that the tokenizer does not have."""
    vocabulary = tokenizer.get_vocab()
    unknown: dict[str, None] = {}
    for text in texts:
        unknown.update(dict.fromkeys(word for word in words(text) if word not in vocabulary))
    if unknown:
        first = ", ".join(list(unknown)[:8]) + (", ..." if len(unknown) > 8 else "")
        raise UserError(
            f"{where}: {len(unknown)} words are not among the {len(vocabulary) - 3} that the "
            f"simplified model knows: {first}",
            allowed="texts of the task that it was trained on",
            fix="model.simplified.task=TASK corpus=TASK with one task and the same options",
        )
