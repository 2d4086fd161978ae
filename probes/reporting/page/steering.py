"""The section of a page on steering: the curves, and what came out, in sentences."""

from __future__ import annotations

import base64
import math
from typing import Any

import pandas as pd

from probes.reporting.drawing.doses import doses_image
from probes.results.dose_curves import AFFORDABLE, DoseCurves, Estimated, curve_label
from probes.results.record import RunRecord
from probes.results.steered import SteeringRecord
from probes.results.vocabulary import COMPARATORS
from probes.results.vocabulary.doses import EQUAL_PERPLEXITY, PERPLEXITY
from probes.results.vocabulary.methods import probe_label
from probes.results.vocabulary.positions import STEERED


def steering_sections(table: pd.DataFrame, record: RunRecord) -> list[dict[str, Any]]:
    """One for each feature that was steered, in plain data for the template."""
    sections = []
    for steered in record.steering:
        curves = DoseCurves.of(table, steered.feature)
        if not curves.metrics:
            continue
        image = base64.b64encode(doses_image(table, steered, run=record)).decode("ascii")
        sections.append(
            {
                "feature": steered.feature,
                "towards": steered.towards,
                "image": f"data:image/png;base64,{image}",
                "made": _made(steered),
                "findings": [line for k in curves.sizes if (line := finding(curves, steered, k))],
                "heads": ", ".join(f"{h.layer}.{h.head}" for h in steered.heads),
                "notes": [f"{note[:1].upper()}{note[1:]}." for note in steered.notes],
            }
        )
    return sections


def finding(curves: DoseCurves, steered: SteeringRecord, heads: int) -> str:
    """What pushing that many heads towards the class did, against all controls, in a sentence.

    It is about the largest strength at which the perplexity of neutral text grows by a tenth at
    most: chosen by the perplexity, not by what is reported.
    """
    strength = curves.affordable_strength(heads)
    main = curves.curve(steered.metric, heads)
    if strength is None or main is None:
        return ""
    many = "1 head" if heads == 1 else f"{heads} heads"
    what = curve_label(steered.metric, steered.towards).removeprefix("change of ")
    text = (
        f"Pushing {many} by {strength:g} standard deviations towards '{steered.towards}' changes "
        f"{what} by {_number(main.at(strength))}"
    )
    perplexity = curves.curve(PERPLEXITY, heads)
    if perplexity is not None:
        clean, pushed = perplexity.at(0.0)[0], perplexity.at(strength)[0]
        text += f"; the perplexity of neutral text goes from {clean:.4g} to {pushed:.4g}"
        if pushed > AFFORDABLE * clean:
            text += ", even at this smallest strength"
    compared = {name: curves.beyond(name, heads, strength) for name in curves.controls}
    known = {name: of for name, of in compared.items() if of is not None}
    if not known:
        return text + "."
    gains = [
        f"{_number(of)} beyond {COMPARATORS[name].label}{_cheaper(curves, name, heads, strength)}"
        for name, of in known.items()
    ]
    gain = f"{COMPARATORS[next(iter(known))].gain}{EQUAL_PERPLEXITY}"
    equal = curves.curve(gain, heads) is not None
    text += f". At equal {'perplexity' if equal else 'strength'} that is " + ", ".join(gains) + ": "
    return text + _verdict(known)


def _cheaper(curves: DoseCurves, control: str, heads: int, strength: float) -> str:
    """Said of a control that costs less at every strength, so that perplexities are not equal."""
    own, other = curves.curve(PERPLEXITY, heads), curves.curve(PERPLEXITY, heads, control)
    if own is None or other is None:
        return ""
    most = float(other.values[other.strengths > 0].max())
    cheaper = most < own.at(strength)[0]
    return f" (which cost at most {most:.4g})" if cheaper else ""


def _verdict(known: dict[str, Estimated]) -> str:
    """What the intervals of the differences to all controls allow to say."""
    beaten = [name for name, (_, low, _) in known.items() if low > 0]
    if any(math.isnan(low) for _, low, _ in known.values()):
        return "without intervals (evaluation.bootstrap=0) nothing can be said about chance."
    if len(beaten) == len(known):
        return "more than every control."
    if not beaten:
        return "no more than the controls give."
    rest = ", ".join(COMPARATORS[name].label for name in known if name not in beaten)
    return f"not more than all controls: {rest} may do as much."


def _made(steered: SteeringRecord) -> str:
    """How it was done."""
    direction = probe_label(steered.direction, "steering")
    where = STEERED.get(steered.positions, f"at positions: {steered.positions}")
    sentences = [
        f"{direction[:1].upper()}{direction[1:]}, towards '{steered.towards}': a constant was "
        f"added to the outputs of the best heads together (by {steered.chosen_by}), "
        f"{where}. Directions and their standard deviations are from training rows.",
        "Controls push as far: the same heads in random directions, the same heads in directions "
        "that their outputs vary in, and random heads of the same layers"
        + (f" (means of {steered.draws} draws)." if steered.draws > 1 else "."),
    ]
    if steered.neutral:
        sentences.append(
            f"Perplexity is of {steered.neutral}, with all tokens but the first pushed."
        )
    else:
        sentences.append("There is no perplexity, so nothing here says what a push breaks.")
    return " ".join(sentences)


def _number(of: Estimated) -> str:
    value, low, high = of
    interval = "" if math.isnan(low) else f" [{low:.3g}, {high:.3g}]"
    return f"{value:+.3g}{interval}"
