"""Memory of exact effects against the number of prompts: it must not grow with it.

    python -m benchmarks.effects_memory [--quick] [--prompts 100 400 1600] [--model DIRECTORY]

Mean ablation of all heads, of all heads of each layer together and of its MLP, total and direct,
with the matched control, on prompts of ``ioi``. Each number of prompts runs in a process of its
own; ``peak_mb`` is the highest resident memory above what the process held with model and texts
loaded and one small ablation done. ``effects_mb`` is what must grow: the effects themselves,
float64 for each edit and prompt. Few prompts have no matched control (too few training texts have
the same names), and take half of the passes. The last line has
the slope of ``peak_mb`` for a thousand prompts.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import memory
from benchmarks.lines import report
from benchmarks.memory import peak_above
from benchmarks.shapes import SHARED
from probes.config import AblationConfig, GeneratedConfig, ModelConfig, SplitConfig
from probes.corpora import load_corpus
from probes.corpora.splits import assign_splits
from probes.interventions.ablation import ablate
from probes.interventions.behaviour import Behaviour, answering
from probes.interventions.editor import Editor
from probes.interventions.measures import MEASURES
from probes.models.handle import Handle
from probes.models.loading import open_model

FULL, QUICK = [100, 400, 1600], [20, 60]
"""Prompts."""
WARM = 20
"""Prompts of the ablation before the measured one, which fills caches and loads libraries."""
EDITS = 4
"""Total and direct effects, of the edit and of its matched control."""


def behaviour_of(handle: Handle, prompts: int) -> Behaviour:
    config = GeneratedConfig(name="ioi", examples=prompts)
    corpus = assign_splits(load_corpus(config), SplitConfig())
    return answering(
        corpus, handle, MEASURES["logit_difference"], None, SplitConfig(), name="answer"
    )


def measure(prompts: int, model: str, threads: int) -> dict[str, Any]:
    """One ablation in this process."""
    torch.set_num_threads(threads)
    handle = open_model(ModelConfig(name=model))
    editor = Editor.open(
        handle, head=True, layers=None, whole_layers=True, tokens_per_batch=4096,
        memory_budget=1 << 30, progress=False,
    )  # fmt: skip
    heads = [head for of_site in editor.units.values() for head in of_site]
    small, behaviour = behaviour_of(handle, WARM), behaviour_of(handle, prompts)
    ablate(editor, small, heads, AblationConfig())
    seconds, peak, _ = peak_above(lambda: ablate(editor, behaviour, heads, AblationConfig()))
    return {
        "prompts": prompts,
        "edits": len(heads),
        "seconds": round(seconds, 3),
        "peak_mb": round(peak, 1),
        "effects_mb": round(EDITS * len(heads) * len(behaviour.texts) * 8 / 2**20, 2),
        "threads": threads,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few prompts, within a minute")
    parser.add_argument("--prompts", nargs="+", type=int, default=FULL)
    parser.add_argument("--model", default="", help="directory; default: stories260K at hand")
    given = parser.parse_args(arguments)
    counts = QUICK if given.quick else given.prompts
    model = given.model or str(SHARED / "models" / "stories260K")
    lines = [memory.apart(measure, number, model, torch.get_num_threads()) for number in counts]
    for line in lines:
        report("effects_memory", Path(model).name, "headprobes", **line)
    if len(lines) > 1:
        peaks = [line["peak_mb"] for line in lines]
        slope = float(np.polyfit(counts, peaks, 1)[0]) * 1000
        report(
            "effects_memory", Path(model).name, "headprobes",
            peak_mb_per_thousand_prompts=round(slope, 2),
        )  # fmt: skip


if __name__ == "__main__":
    main()
