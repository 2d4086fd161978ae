"""The seam: views without copies, edits, early stop, and clean removal."""

from __future__ import annotations

import pytest
import torch

from probes.config.group_checks import SITE_KINDS
from probes.models.forward import forward
from probes.models.hooks import Visit, hooked
from probes.models.sites import Site, find_sites
from tests import tiny_models
from tests.tiny_families import FAMILIES

IDS, MASK = tiny_models.pad(tiny_models.sequences((7, 5)))


def test_heads_are_a_view_of_what_the_model_computes_with() -> None:
    body = tiny_models.build("llama_gqa")
    site = find_sites(body)[0]
    entered, seen = [], []
    body.get_submodule(site.module).register_forward_pre_hook(lambda m, args: entered.append(args))
    with hooked(body, [site], lambda site, z: seen.append(z)):
        forward(body, "decoder", IDS, MASK)
    assert seen[0].shape == (2, 7, 4, 8)
    assert seen[0].data_ptr() == entered[0][0].data_ptr()
    assert torch.equal(seen[0].flatten(2), entered[0][0])


def test_flattened_tokens_get_their_batch_back() -> None:
    """OPT's feed-forward part works on (batch x tokens, d_model)."""
    body = tiny_models.build("opt")
    site = find_sites(body, "mlp_output")[1]
    seen = []
    with hooked(body, [site], lambda site, z: seen.append(z.clone())):
        forward(body, "decoder", IDS, MASK)
        forward(body, "decoder", IDS[:1], MASK[:1])
    assert [z.shape for z in seen] == [(2, 7, 1, 32), (1, 7, 1, 32)]
    torch.testing.assert_close(seen[0][:1], seen[1], rtol=0, atol=1e-10)


def flipped(site: Site, z: torch.Tensor) -> torch.Tensor:
    return z.flip(-1)


def kept_in(out: dict[object, torch.Tensor]) -> Visit:
    """Copies what passes at each site."""
    return lambda site, z: out.__setitem__(site, z.clone())


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5", "mixtral", "opt", "distilbert"])
@pytest.mark.parametrize("kind", SITE_KINDS)
def test_edit_replaces_what_the_model_goes_on_with(family: str, kind: str) -> None:
    """Editing with the same numbers changes nothing; with others, everything behind the site."""
    body, model = tiny_models.build(family), FAMILIES[family].kind
    sites = find_sites(body, kind)
    plain = forward(body, model, IDS, MASK).last_hidden_state
    with hooked(body, sites, lambda site, z: z.clone()):
        same = forward(body, model, IDS, MASK).last_hidden_state
    assert torch.equal(plain, same)
    before: dict[object, torch.Tensor] = {}
    after: dict[object, torch.Tensor] = {}
    for out, edit in ((before, None), (after, sites[-1])):
        with (
            hooked(body, [sites[-1]], flipped if edit else lambda site, z: None),
            hooked(body, sites, kept_in(out)),
        ):
            edited = forward(body, model, IDS, MASK).last_hidden_state
    assert not torch.equal(plain, edited)
    assert all(torch.equal(before[site], after[site]) for site in sites[:-1])
    torch.testing.assert_close(after[sites[-1]], before[sites[-1]].flip(-1))


@pytest.mark.parametrize("family", ["bert", "gpt2", "bart", "qwen3_next"])
def test_stop_after_last_reads_the_same_and_runs_no_further(family: str) -> None:
    body, model = tiny_models.build(family), FAMILIES[family].kind
    sites = find_sites(body, "heads", layers=[0]) + find_sites(body, "residual", layers=[0])
    ran: list[str] = []
    for name, module in body.named_modules():
        module.register_forward_hook(lambda m, args, output, name=name: ran.append(name))

    def read(stop: bool) -> tuple[object, dict[object, torch.Tensor]]:
        out: dict[object, torch.Tensor] = {}
        ran.clear()
        visit = lambda site, z: out.__setitem__(site, z.clone())  # noqa: E731
        with hooked(body, sites, visit, stop_after_last=stop):
            return forward(body, model, IDS, MASK), out

    whole, expected = read(False)
    last_layer = find_sites(body, "residual")[-1].module
    assert whole is not None and last_layer in ran
    stopped, out = read(True)
    assert stopped is None and last_layer not in ran
    assert set(out) == set(expected) == set(sites)
    assert all(torch.equal(out[site], expected[site]) for site in sites)
    assert forward(body, model, IDS, MASK) is not None


def test_hooks_go_when_the_block_is_left_by_an_error() -> None:
    body = tiny_models.build("gpt2")

    def fail(site: object, z: torch.Tensor) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"), hooked(body, find_sites(body), fail):
        forward(body, "decoder", IDS, MASK)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in body.modules())


def test_edit_of_the_wrong_shape() -> None:
    body = tiny_models.build("gpt2")
    with (
        pytest.raises(ValueError, match=r"\(2, 7, 4, 4\) for \(2, 7, 4, 8\)"),
        hooked(body, find_sites(body), lambda site, z: z[..., :4]),
    ):
        forward(body, "decoder", IDS, MASK)


def test_a_site_that_runs_twice_in_a_pass_is_an_error() -> None:
    body = tiny_models.build("gpt2")
    sites = find_sites(body)
    projection = body.h[0].attn.c_proj
    body.h[1].register_forward_pre_hook(lambda m, args: projection(torch.zeros(2, 7, 32).double()))
    with (
        pytest.raises(RuntimeError, match="more than once"),
        hooked(body, sites, lambda site, z: None),
    ):
        forward(body, "decoder", IDS, MASK)


def test_keyword_inputs_are_read_and_edited() -> None:
    body = tiny_models.build("llama_gqa")
    site = find_sites(body)[0]
    projection = body.get_submodule(site.module)

    class ByKeyword(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = projection

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self.inner(input=x)
            return output

    body.layers[0].self_attn.o_proj = ByKeyword()
    sites = find_sites(body, head_projection="o_proj.inner", layers=[0])
    plain = forward(body, "decoder", IDS, MASK).last_hidden_state
    with hooked(body, sites, lambda site, z: torch.zeros_like(z)):
        edited = forward(body, "decoder", IDS, MASK).last_hidden_state
    assert not torch.equal(plain, edited)
