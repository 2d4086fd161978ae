"""Passes that are resumed at a layer give what whole passes give."""

from __future__ import annotations

import pytest
import torch

from probes.models.forward import forward
from probes.models.hooks import hooked
from probes.models.restart import Restart
from probes.models.sites import find_sites
from tests.tiny_families import FAMILIES
from tests.tiny_models import build, pad, sequences

WHOLE_PASSES: set[str] = set()
"""Families whose layers hand on state in ways that a resumed pass cannot give back."""


@pytest.mark.parametrize("name", FAMILIES)
def test_a_resumed_pass_with_an_edit_is_the_whole_pass_with_that_edit(name: str) -> None:
    body, kind = build(name, dtype=torch.float32), FAMILIES[name].kind
    sites = find_sites(body)
    restart = Restart(body, kind)
    restart.prove(sites)
    assert restart.possible == (name not in WHOLE_PASSES)
    ids, mask = pad(sequences())
    with restart.keeping():
        forward(body, kind, ids, mask)
    for site in sites:

        def edit(site: object, z: torch.Tensor) -> torch.Tensor:
            edited = z.unflatten(0, (2, -1)).clone()
            edited[0, ..., 0, :] = 0  # the first variant without its first head
            both: torch.Tensor = edited.flatten(0, 1)
            return both

        twice = (ids.repeat(2, 1), mask.repeat(2, 1))
        with hooked(body, [site], edit):
            whole = forward(body, kind, *twice).last_hidden_state
            with restart.resuming(site, variants=2):
                resumed = forward(body, kind, *twice).last_hidden_state
        real = mask.bool().repeat(2, 1)
        if whole.shape[1] > real.shape[1]:  # a decoder's start token
            real = torch.nn.functional.pad(real, (1, 0), value=True)
        torch.testing.assert_close(resumed[real], whole[real], rtol=1e-5, atol=1e-5)
        plain = forward(body, kind, *twice).last_hidden_state
        assert not torch.allclose(whole[real], plain[real])  # the edit did something
        assert all("forward" not in vars(m) or restart for m in body.modules())


@pytest.mark.parametrize("name", ["llama_gqa", "gpt2"])
def test_a_resumed_pass_of_the_same_batch_has_the_same_bits(name: str) -> None:
    body, kind = build(name, dtype=torch.float32), FAMILIES[name].kind
    restart = Restart(body, kind)
    ids, mask = pad(sequences())
    with restart.keeping():
        whole = forward(body, kind, ids, mask).last_hidden_state
    for site in find_sites(body):
        with restart.resuming(site):
            assert torch.equal(forward(body, kind, ids, mask).last_hidden_state, whole)


@pytest.mark.parametrize("whole", [True, False], ids=["of-a-batch", "of-any-shape"])
def test_layers_that_hand_on_state_elsewhere_are_found_out(whole: bool) -> None:
    body = build("llama_gqa", dtype=torch.float32)
    memory: list[torch.Tensor] = []

    def remember(module: object, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        memory.append(output.sum(dim=1, keepdim=True) if whole else output[0, 0])

    def recall(module: object, args: object, output: torch.Tensor) -> torch.Tensor:
        return output + memory[-1]

    # What the first layer's attention computed is used in the second, besides its output.
    body.layers[0].self_attn.o_proj.register_forward_hook(remember)
    body.layers[1].self_attn.o_proj.register_forward_hook(recall)
    restart = Restart(body, "decoder")
    restart.prove(find_sites(body))
    assert not restart.possible


def test_a_model_that_is_rounded_by_the_shape_of_its_batch_is_resumed() -> None:
    body = build("llama_gqa", dtype=torch.float32)

    def rounded(module: object, args: object, output: torch.Tensor) -> torch.Tensor:
        return output * (1 + 1e-3 * len(output))  # as much as SmolLM2 blows up a product's rounding

    body.layers[0].self_attn.o_proj.register_forward_hook(rounded)
    restart = Restart(body, "decoder")
    restart.prove(find_sites(body))
    assert restart.possible
