"""A table of texts with a label, an answer that stands for it, and splits of its own."""

from __future__ import annotations

import csv
from pathlib import Path


def write_table(path: Path, *, flipped: str = "", count: int = 96) -> None:
    """Texts that end with a word of their class; labels of one split may be turned round."""
    words, said = (" the storm", " one dog"), ("warm", "cold")
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "mood", "split", "answer", "alternatives"])
        for number in range(count):
            split = ("train", "train", "validation", "test")[number % 4]
            label = (number // 4 + number // 24) % 2
            text = f"{number} sails{words[label]}"
            named = said[1 - label if flipped == split else label]
            writer.writerow([text, named, split, f" {said[label]}", f" {said[1 - label]}"])
