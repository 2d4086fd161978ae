"""What an atlas is asked for, checked before anything heavy is imported."""

from __future__ import annotations

from probes.catalogue import STAGES, Entry, load_catalogue
from probes.config import AtlasConfig
from probes.core.errors import UserError, closest


def chosen_entries(atlas: AtlasConfig) -> list[Entry]:
    """The entries of the catalogue that ``atlas.stages`` and ``atlas.corpora`` choose.

    Raises:
        UserError: an unknown stage or corpus, no entry that has both, or no examples.
    """
    entries = list(load_catalogue())
    for key, asked, known in (
        ("stages", atlas.stages, list(STAGES)),
        ("corpora", atlas.corpora, sorted({entry.corpus for entry in entries})),
    ):
        for name in asked or []:
            if name not in known:
                raise UserError(
                    f"atlas.{key}=[{name}]: not in the catalogue",
                    allowed=", ".join(known),
                    fix=closest(name, known, f"atlas.{key}=[{{}}]"),
                )
    if atlas.examples is not None and atlas.examples < 1:
        raise UserError(f"atlas.examples={atlas.examples}", allowed="1 and more")
    chosen = [
        entry
        for entry in entries
        if (not atlas.stages or entry.stage in atlas.stages)
        and (not atlas.corpora or entry.corpus in atlas.corpora)
    ]
    if not chosen:
        raise UserError(
            f"atlas.corpora={atlas.corpora} atlas.stages={atlas.stages}: no entry of the catalogue "
            "has both",
            fix="atlas.stages=null",
        )
    return chosen
