"""One spelling for the numbers of a column, when all its rows are known."""

from __future__ import annotations

from collections.abc import Collection

from probes.corpora.builder import CorpusBuilder
from probes.corpora.numbers import many_numbers, plain, same_spelling


def spell_numbers(builder: CorpusBuilder, groups: Collection[str]) -> list[str]:
    """Join the classes, and the groups, that are one number in several spellings.

    groups: those that the rows name.
    Returns what was done, in sentences; also where classes are rather a scale.
    """
    notes = []
    spelling = same_spelling(groups)
    if spelling:
        builder.rename_groups(spelling)
        notes.append(f"{len(spelling)} other spellings of a group joined with it")
    scales = {}
    for feature in builder.features:
        spelling = same_spelling(builder.classes(feature))
        if spelling:
            builder.rename_classes(feature, spelling)
            example, kept = next(iter(spelling.items()))
            notes.append(
                f"{feature}: {len(spelling)} other spellings of a class joined with it "
                f"({example} with {kept})"
            )
        scales[feature] = many_numbers(builder.classes(feature))
    for feature, numbers in scales.items():
        if numbers:
            middle = plain(numbers[len(numbers) // 2])
            notes.append(
                f"{feature}: {len(numbers)} different numbers are taken as classes, because "
                "regression is not offered"
                + (f". Try corpus.threshold={middle}" if all(scales.values()) else "")
            )
    return notes
