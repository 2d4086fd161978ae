"""How an atlas names features."""

from __future__ import annotations


def feature_label(feature: str, corpus: str) -> str:
    """A feature with its corpus, as people read it: several corpora have an ``answer``."""
    return f"{feature} · {corpus}"
