"""The benchmark of attention patterns against a loop over queries and keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.pattern_scores import pattern_scores, repeated_tokens

LENGTH = 5


def test_scores_are_the_weights_on_the_places_they_name() -> None:
    ids = repeated_tokens(torch.arange(3, 40), 1, count=3, length=LENGTH, seed=0)
    assert ids.shape == (3, 1 + 2 * LENGTH)
    assert torch.equal(ids[:, 1 : 1 + LENGTH], ids[:, 1 + LENGTH :])
    body = _tiny()
    scores = pattern_scores(body, ids)
    with torch.no_grad():
        weights = torch.stack(body(ids, output_attentions=True).attentions)  # (L, B, H, T, T)
    first, second = range(1, 1 + LENGTH), range(1 + LENGTH, 1 + 2 * LENGTH)
    places: list[tuple[str, Iterable[int], Callable[[int], int]]] = [
        ("previous", [*first, *second][1:], lambda q: q - 1),
        ("duplicate", second, lambda q: q - LENGTH),
        ("induction", second, lambda q: q - LENGTH + 1),
    ]
    for name, queries, key in places:
        right = np.mean([weights[..., q, key(q)].numpy() for q in queries], axis=0)  # (L, B, H)
        np.testing.assert_allclose(scores[name], right.swapaxes(0, 1), rtol=1e-5)


def _tiny() -> Any:
    torch.manual_seed(0)
    library: Any = transformers
    config = library.LlamaConfig(
        vocab_size=48, hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, attn_implementation="eager",
        initializer_range=0.5,
    )  # fmt: skip
    return library.LlamaModel(config).eval()
