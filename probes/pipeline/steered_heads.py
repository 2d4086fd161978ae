"""Which class is steered to, and which heads are pushed: the best on validation, never by test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from probes.core.errors import UserError, closest
from probes.corpora.corpus import Corpus
from probes.interventions.editor import Editor
from probes.models.sites import Site
from probes.results.vocabulary.comparators import is_comparator
from probes.results.vocabulary.methods import METHODS, PROBE, TOTAL
from probes.results.vocabulary.sites import HEADS
from probes.statistics.maps import MapEvidence


def wanted_class(corpus: Corpus, feature: str, towards: str | None) -> str:
    """The class to steer to: the one asked for, else the second.

    Raises:
        UserError: the feature has no such class.
    """
    classes = corpus.feature(feature).classes
    if towards is None:
        return classes[min(1, len(classes) - 1)]
    if towards not in classes:
        raise no_such_class(feature, towards, classes)
    return towards


def no_such_class(feature: str, towards: str, classes: Sequence[str]) -> UserError:
    """That a class is none of those that can be steered to."""
    return UserError(
        f"steering.towards={towards}: '{feature}' has no such class",
        allowed=", ".join(classes[:30]),
        fix=closest(towards, list(classes), "steering.towards={}"),
    )


def ranked_heads(
    maps: Sequence[MapEvidence], feature: str, probe: str, editor: Editor
) -> tuple[str, list[tuple[Site, int]]]:
    """The heads that are edited, the best on validation first, and what they were chosen by.

    By the accuracy of probes where there are any, else by the size of the total effect of the first
    other method.

    Raises:
        UserError: the run has no map of the feature with values on validation.
    """
    of_heads = [m for m in maps if m.feature == feature and m.site == HEADS]
    own_maps = [m for m in of_heads if not is_comparator(m.probe) and m.weights is None]
    usable = [m for m in own_maps if np.isfinite(m.validation).any()]
    own = [m for m in usable if m.method == PROBE and m.probe == probe]
    effects = [m for m in usable if m.method != PROBE]
    own += sorted(effects, key=lambda m: m.effect != TOTAL)
    if not own:
        raise no_map(feature, sorted({m.feature for m in maps if m.site == HEADS}))
    chosen = own[0]
    value = chosen.validation if chosen.method == PROBE else np.abs(chosen.validation)
    value = np.where(np.isfinite(value), value, -np.inf)
    sites = {(site.stream, site.layer): site for site in editor.sites}
    order = np.argsort(-value, kind="stable").tolist()
    keys = [chosen.keys[number] for number in order if value[number] > -np.inf]
    ranked = [(sites[stream, layer], head) for stream, layer, head in keys]
    what = METHODS[chosen.method].variant(chosen.probe).label
    size = "accuracy" if chosen.method == PROBE else "size of the effect"
    return f"{size} of the {what} on validation", ranked


def no_map(feature: str, others: Sequence[str]) -> UserError:
    """That nothing says which heads of a feature are the best."""
    return UserError(
        f"methods=[steering]: the run has no map of '{feature}' with values on validation, by "
        "which heads could be chosen",
        allowed=f"features with a map ({', '.join(others) or 'none'})",
        fix=f"features=[{feature}] methods=[probe,steering]",
    )
