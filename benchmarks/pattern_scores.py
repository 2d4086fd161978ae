"""Attention patterns of every head of a language model, beside what other methods say of it.

    python -m benchmarks.pattern_scores [--quick] [--model smollm2] [--run DIR] [--cache DIR]

The patterns are measured with nothing but the pattern to go by: random tokens behind BOS, repeated
twice. ``previous`` is the mean weight on the token before, ``duplicate`` on the earlier copy of the
token, ``induction`` on the token behind that copy (Olsson et al. 2022, arXiv 2209.11895); rows are
the positions that have such a token. Weights are those of the eager kernel.

JSON lines, one a pattern: its strongest heads ("layer.head", score, standard error over sequences).
With ``--run``, a finished run of the same model on ``corpus=induction``, further lines compare each
method's map with the pattern that belongs to the feature: rank correlation over all heads, and
``hit_at_5``, the share of the pattern's five strongest heads among the method's five. Effects are
compared by value and by size: a head that writes against the answer has a pattern as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor

from benchmarks.lines import report
from probes import Run, load_run
from probes.config import ModelConfig
from probes.models.loading import open_model

Array = npt.NDArray[np.float64]
OF_FEATURE = {"previous_token": "previous", "next_token": "induction"}
"""Which pattern the heads that carry a feature are said to have."""
NAMED = 5
"""Heads of a map that are named."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few sequences")
    parser.add_argument("--model", default="smollm2", help="name, directory or GGUF file")
    parser.add_argument("--sequences", type=int, default=48)
    parser.add_argument("--length", type=int, default=32, help="tokens that are repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, help="a run of the model on corpus=induction")
    parser.add_argument("--cache", type=Path, help="where a GGUF file is unpacked")
    given = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        measure(given, given.cache or Path(folder))


def measure(given: argparse.Namespace, cache: Path) -> None:
    """Report every pattern, then every method's agreement with it."""
    settings = ModelConfig(name=given.model, attention="eager")
    handle = open_model(settings, cache_dir=cache)
    kept = _ordinary_tokens(handle.tokenizer)
    count = 4 if given.quick else given.sequences
    ids = repeated_tokens(kept, handle.tokenizer.bos_token_id, count, given.length, given.seed)
    scores = pattern_scores(handle.load(), ids, behind=int(ids.shape[1] % 2))
    for name, values in scores.items():
        mean, error = values.mean(0), values.std(0, ddof=1) / np.sqrt(len(values))  # (L, H)
        heads = [
            [f"{layer}.{head}", round(float(mean[layer, head]), 3),
             round(float(error[layer, head]), 3)]
            for layer, head in _strongest(mean)
        ]  # fmt: skip
        report("pattern_scores", name, "attention", heads=heads, sequences=count)
    if given.run is not None:
        for line in agreement(load_run(given.run), {n: v.mean(0) for n, v in scores.items()}):
            report("pattern_scores", **line)


def repeated_tokens(tokens: Tensor, bos: int | None, count: int, length: int, seed: int) -> Tensor:
    """Sequences of different random tokens, said twice, behind BOS: (count, 1 + 2 * length)."""
    generator = torch.Generator().manual_seed(seed)
    rows = [tokens[torch.randperm(len(tokens), generator=generator)[:length]] for _ in range(count)]
    once = torch.stack(rows)  # (B, length)
    first = [] if bos is None else [torch.full((count, 1), bos)]
    return torch.cat([*first, once, once], dim=1)


@torch.no_grad()
def pattern_scores(body: Any, ids: Tensor, *, behind: int = 1) -> dict[str, Array]:
    """The scores of every sequence and head, (B, L, H) each.

    ids: (B, T), ``behind`` tokens and a sequence said twice. body: with the eager kernel.
    """
    length = (ids.shape[1] - behind) // 2
    scores: dict[str, list[Tensor]] = {"previous": [], "duplicate": [], "induction": []}
    for row in ids.split(1):
        weights = torch.cat(body(row, output_attentions=True).attentions)  # (L, H, T, T)
        before = weights.diagonal(-1, dim1=-2, dim2=-1)  # (L, H, T - 1): query 1 looks at key 0
        scores["previous"].append(before[..., behind:].mean(-1))
        # Queries of the second time; the last one's copy is followed by the second time itself.
        copy = weights.diagonal(-length, dim1=-2, dim2=-1)[..., behind:]
        after = weights.diagonal(1 - length, dim1=-2, dim2=-1)[..., behind + 1 :]
        scores["duplicate"].append(copy.mean(-1))
        scores["induction"].append(after.mean(-1))
    return {name: torch.stack(rows).double().numpy() for name, rows in scores.items()}


def agreement(run: Run, patterns: dict[str, Array]) -> list[dict[str, Any]]:
    """Every method's map of a feature against the pattern that belongs to it, a line each."""
    lines = []
    rows = run.results
    for feature, pattern in OF_FEATURE.items():
        if feature not in run.features:
            continue
        score = pd.DataFrame(patterns[pattern])
        for method in rows[rows["feature"] == feature]["method"].unique():
            own = run.map(feature, method=method, site="heads")
            theirs = score.loc[own.index, own.columns].to_numpy().ravel()
            values = own.to_numpy().ravel()
            if len(np.unique(values[~np.isnan(values)])) < 2:  # such a map has no order
                continue
            kinds = {"value": values} | ({} if method == "probe" else {"size": np.abs(values)})
            for kind, ours in kinds.items():
                there = ~np.isnan(ours)
                lines.append(
                    {
                        "setting": feature,
                        "contestant": method,
                        "by": kind,
                        "pattern": pattern,
                        "rank_correlation": round(
                            float(spearmanr(ours[there], theirs[there]).statistic), 3
                        ),
                        "hit_at_5": len(_top(ours) & _top(theirs)) / NAMED,
                        "heads": [f"{layer}.{head}" for layer, head in _strongest(
                            own.abs().to_numpy() if kind == "size" else own.to_numpy()
                        )],
                    }
                )  # fmt: skip
    return lines


def _ordinary_tokens(tokenizer: Any) -> Tensor:
    """Ids of all tokens but the special ones."""
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    return torch.tensor([one for one in range(len(tokenizer)) if one not in special])


def _strongest(values: Array) -> list[tuple[int, int]]:
    """Layer and head of the largest values, strongest first."""
    order = np.argsort(-np.nan_to_num(values, nan=-np.inf), axis=None)[:NAMED]
    return [(int(o) // values.shape[1], int(o) % values.shape[1]) for o in order]


def _top(values: Array) -> set[int]:
    return {int(place) for place in np.argsort(-np.nan_to_num(values, nan=-np.inf))[:NAMED]}


if __name__ == "__main__":
    main()
