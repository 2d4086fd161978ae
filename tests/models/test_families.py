"""Every family of models: its sites are found, are heads, and can be read and edited exactly."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor

from probes.config.group_checks import SITE_KINDS
from probes.core.errors import UserError
from probes.models.forward import forward, token_offset
from probes.models.hf_config import model_kind
from probes.models.hooks import hooked
from probes.models.sites import Site, find_sites
from probes.models.structure import linear_shape
from probes.models.verification import verify_sites
from tests import tiny_models
from tests.tiny_families import FAMILIES

families = pytest.mark.parametrize("family", FAMILIES)


@functools.cache
def body_of(family: str, dtype: torch.dtype = torch.float64) -> Any:
    return tiny_models.build(family, dtype)


def read(body: Any, ids: Tensor, mask: Tensor, sites: list[Site]) -> dict[Site, Tensor]:
    """What passes at each site, copied."""
    out: dict[Site, Tensor] = {}
    with hooked(body, sites, lambda site, z: out.__setitem__(site, z.clone())):
        forward(body, model_kind(body.config), ids, mask)
    return out


def hidden(body: Any, ids: Tensor, mask: Tensor) -> Tensor:
    state: Tensor = forward(body, model_kind(body.config), ids, mask).last_hidden_state
    return state


@families
def test_kind_streams_heads_and_widths(family: str) -> None:
    body, expected = body_of(family), FAMILIES[family]
    assert model_kind(body.config) == expected.kind
    found: dict[str, list[tuple[int, int]]] = {}
    for site in find_sites(body):
        assert site.layer == len(found.setdefault(site.stream, []))
        found[site.stream].append((site.units, site.width))
    assert found == expected.heads


@families
def test_heads_add_up_to_the_output_of_the_projection(family: str) -> None:
    """The identity of ``verify_sites``, spelled out here with nothing of its code."""
    body = body_of(family)
    sites = find_sites(body)
    outputs: dict[str, Tensor] = {}
    hooks = [
        body.get_submodule(site.module).register_forward_hook(
            lambda module, args, output, name=site.module: outputs.__setitem__(name, output)
        )
        for site in sites
    ]
    z = read(body, *tiny_models.pad(tiny_models.sequences((9, 9))), sites)
    for hook in hooks:
        hook.remove()
    for site in sites:
        projection = body.get_submodule(site.module)
        weight = projection.weight if hasattr(projection, "nx") else projection.weight.T
        total = torch.zeros_like(outputs[site.module])
        for head in range(site.units):
            rows = slice(head * site.width, (head + 1) * site.width)
            total += z[site][:, :, head] @ weight[rows]
        if projection.bias is not None:
            total += projection.bias
        torch.testing.assert_close(total, outputs[site.module], rtol=0, atol=1e-11)


@families
@pytest.mark.parametrize("kind", SITE_KINDS)
def test_sites_verify(family: str, kind: str) -> None:
    body = body_of(family, FAMILIES[family].padded)
    verify_sites(body, find_sites(body, kind), padding=("right", "left"))


@families
def test_whole_layer_sites(family: str) -> None:
    """One unit of the model's width for each layer; the last residual is the model's output."""
    body, expected = body_of(family), FAMILIES[family]
    ids, mask = tiny_models.pad(tiny_models.sequences((6, 6)))
    layers = {stream: len(of) for stream, of in expected.heads.items() if stream != "cross"}
    for kind in ("residual", "mlp_output"):
        sites = find_sites(body, kind)
        assert {s: sum(x.stream == s for x in sites) for s in layers} == layers
        assert all((site.units, site.width) == (1, 32) for site in sites)
        assert all(z.shape[2:] == (1, 32) for z in read(body, ids, mask, sites).values())
    attention = find_sites(body, "attention_output")
    assert [(s.stream, s.layer) for s in attention] == [
        (s.stream, s.layer) for s in find_sites(body)
    ]
    norms = [m for n, m in body.named_modules() if n in FINAL_NORMS]
    last = find_sites(body, "residual")[-1]
    residual = read(body, ids, mask, [last])[last].squeeze(2)
    final = norms[0](residual) if norms else residual
    torch.testing.assert_close(final, hidden(body, ids, mask), rtol=0, atol=1e-9)


# Where a model normalises the residual stream once more behind its last layer.
FINAL_NORMS = {
    *("ln_f", "final_layer_norm", "norm", "final_layernorm", "final_norm"),
    *("decoder.final_layer_norm", "decoder.norm"),
}


@families
def test_reading_leaves_the_pass_bit_identical(family: str) -> None:
    body = body_of(family, FAMILIES[family].padded)
    ids, mask = tiny_models.pad(tiny_models.sequences())
    before = hidden(body, ids, mask)
    seen: list[Site] = []
    everything = [site for kind in SITE_KINDS for site in find_sites(body, kind)]
    with hooked(body, everything, lambda site, z: seen.append(site)):
        during = hidden(body, ids, mask)
    assert sorted(seen, key=repr) == sorted(everything, key=repr)
    assert before.isfinite().all() and torch.equal(before, during)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in body.modules())


@families
@pytest.mark.parametrize("side", ["right", "left"])
def test_batched_equals_single(family: str, side: str) -> None:
    expected = FAMILIES[family]
    body = body_of(family, expected.padded)
    sites = [site for kind in SITE_KINDS for site in find_sites(body, kind)]
    rows = tiny_models.sequences()
    batch = tiny_models.pad(rows, side)
    if side == "left" and not expected.left_padding:
        with pytest.raises(UserError, match="padding on the left"):
            read(body, *batch, sites)
        return
    batched = read(body, *batch, sites)
    for index, row in enumerate(rows):
        single = read(body, row[None], torch.ones_like(row)[None], sites)
        start = 0 if side == "right" else len(batch[0][0]) - len(row)
        for site in sites:
            offset = token_offset(expected.kind, site.stream)
            of_row = batched[site][index, start + offset : start + offset + len(row)]
            of_text = single[site][0, offset : offset + len(row)]
            assert len(of_text) == len(row)
            torch.testing.assert_close(of_row, of_text, rtol=0, atol=expected.tolerance)


@families
def test_ablating_a_head_takes_away_its_contribution(family: str) -> None:
    body = body_of(family)
    ids, mask = tiny_models.pad(tiny_models.sequences((6, 6)))
    for site in (find_sites(body)[0], find_sites(body)[-1]):
        head = site.units - 1
        module = body.get_submodule(site.module)
        outputs: list[Tensor] = []
        kept: list[Tensor] = []

        def ablate(site: Site, z: Tensor, head: int = head, kept: list[Tensor] = kept) -> Tensor:
            kept.append(z[:, :, head].clone())
            edited = z.clone()
            edited[:, :, head] = 0
            return edited

        hook = module.register_forward_hook(lambda m, a, output, o=outputs: o.append(output))
        whole = hidden(body, ids, mask)
        with hooked(body, [site], ablate):
            without = hidden(body, ids, mask)
        hook.remove()
        assert linear_shape(module) == (site.units * site.width, 32)
        weight = module.weight if hasattr(module, "nx") else module.weight.T
        contribution = kept[0] @ weight[head * site.width :]
        torch.testing.assert_close(outputs[0] - outputs[1], contribution, rtol=0, atol=1e-11)
        assert contribution.abs().max() > 1e-3
        assert not torch.equal(whole, without)
