"""What is read as a head is that head: compared with its attention weights times its values.

The identity of the projection holds for any way to cut its input; this holds only for the heads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from probes.models.hooks import hooked
from probes.models.sites import Site, find_sites
from tests import tiny_models
from tests.tiny_families import FAMILIES

Layout = Callable[[Tensor, int, int], Tensor]
"""(tokens, features), heads, width -> values of (heads, tokens, width)."""


def plain(x: Tensor, heads: int, width: int) -> Tensor:
    """One value head after another, each for a group of query heads."""
    values: Tensor = x.unflatten(-1, (-1, width)).transpose(0, 1)  # (G, T, D)
    return torch.repeat_interleave(values, heads // len(values), dim=0)  # (H, T, D)


def thirds(x: Tensor, heads: int, width: int) -> Tensor:
    """All queries, all keys, all values."""
    return plain(x.chunk(3, dim=-1)[2], heads, width)


def interleaved(x: Tensor, heads: int, width: int) -> Tensor:
    """Query, key and value of each head side by side."""
    parts: Tensor = x.unflatten(-1, (heads, 3, width))  # (T, H, 3, D)
    return parts[:, :, 2].transpose(0, 1)


def last(x: Tensor, heads: int, width: int) -> Tensor:
    """One value head for all query heads, behind everything else."""
    return plain(x[:, -width:], heads, width)


def behind_keys(x: Tensor, heads: int, width: int) -> Tensor:
    """Key and value of each head side by side, the value last."""
    parts: Tensor = x.unflatten(-1, (heads, -1))  # (T, H, keys and D)
    return parts[:, :, -width:].transpose(0, 1)


VALUES: dict[str, tuple[str, Layout]] = {
    "gpt2": ("c_attn", thirds),
    "gpt_neo": ("v_proj", plain),
    "gptj": ("v_proj", plain),
    "gpt_neox": ("query_key_value", interleaved),
    "opt": ("v_proj", plain),
    "bloom": ("query_key_value", interleaved),
    "falcon": ("query_key_value", last),
    "phi": ("v_proj", plain),
    "llama_gqa": ("v_proj", plain),
    "llama_head_dim": ("v_proj", plain),
    "mistral": ("v_proj", plain),
    "mixtral": ("v_proj", plain),
    "qwen3": ("v_proj", plain),
    "gemma2": ("v_proj", plain),
    "gemma3": ("v_proj", plain),
    "gpt_oss": ("v_proj", plain),
    "deepseek_v3": ("kv_b_proj", behind_keys),
    "bert": ("value", plain),
    "roberta": ("value", plain),
    "distilbert": ("v_lin", plain),
    "modernbert": ("Wqkv", thirds),
    "deberta_v2": ("value_proj", plain),
    "bart": ("v_proj", plain),
    "t5": ("v", plain),
}
"""Name of the module that makes the values, and how it lays them out. The other families gate or
normalise what attention puts out before they project it."""


def value_module(body: Any, site: Site, name: str) -> Any:
    """The module of that name nearest to the site."""
    path = site.module
    while path:
        path = path.rpartition(".")[0]
        near = [m for n, m in body.get_submodule(path).named_modules() if n.split(".")[-1] == name]
        if near:
            assert len(near) == 1
            return near[0]
    raise LookupError(name)


@pytest.mark.parametrize("family", VALUES)
def test_head_is_its_attention_times_its_values(family: str) -> None:
    name, layout = VALUES[family]
    body = tiny_models.build(family)
    body.set_attn_implementation("eager")  # the kernel that returns its weights
    sites = find_sites(body)
    (ids,) = tiny_models.sequences((9,))
    inputs = {"input_ids": ids[None], "attention_mask": torch.ones_like(ids)[None]}
    if FAMILIES[family].kind == "encoder-decoder":
        inputs["decoder_input_ids"] = tiny_models.sequences((9,), seed=1)[0][None]
    z: dict[Site, Tensor] = {}
    values: dict[Site, Tensor] = {}
    hooks = [
        value_module(body, site, name).register_forward_hook(
            lambda module, args, output, site=site: values.__setitem__(
                site, output.reshape(-1, output.shape[-1])
            )
        )
        for site in sites
    ]
    with torch.no_grad(), hooked(body, sites, lambda site, x: z.__setitem__(site, x[0].clone())):
        output = body(**inputs, output_attentions=True)
    for hook in hooks:
        hook.remove()
    for site in sites:
        key = "attentions" if "attentions" in output else f"{site.stream}_attentions"
        weights = output[key][site.layer][0]  # (H, T, T)
        assert len(weights) == site.units
        expected = weights @ layout(values[site], site.units, site.width)  # (H, T, D)
        # Some models form their softmax in float32.
        torch.testing.assert_close(z[site].transpose(0, 1), expected, rtol=0, atol=2e-6)
        assert expected.abs().max() > 0.1
