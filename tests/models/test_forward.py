"""What a batch is turned into: positions, decoder inputs, and what is left out."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from probes.core.errors import UserError
from probes.models.forward import forward, token_offset
from probes.models.hf_config import Kind
from tests import tiny_models


def inputs_of(
    body: torch.nn.Module, kind: Kind, ids: torch.Tensor, mask: torch.Tensor
) -> dict[str, Any]:
    """The keyword arguments that ``forward`` calls the body with."""
    seen: dict[str, Any] = {}
    hook = body.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(kwargs), with_kwargs=True
    )
    forward(body, kind, ids, mask)
    hook.remove()
    return seen


def test_no_cache_no_gradient_and_nothing_but_ids_and_mask() -> None:
    body = tiny_models.build("llama_gqa")
    ids, mask = tiny_models.pad(tiny_models.sequences())
    seen = inputs_of(body, "decoder", ids, mask)
    assert seen["use_cache"] is False
    assert set(seen) == {"input_ids", "attention_mask", "use_cache"}
    output = forward(body, "decoder", ids, mask)
    assert output.past_key_values is None
    assert output.last_hidden_state.is_inference()


def test_positions_count_from_the_first_real_token() -> None:
    ids, mask = tiny_models.pad(tiny_models.sequences((2, 4)), "left")
    seen = inputs_of(tiny_models.build("gpt2"), "decoder", ids, mask)
    assert seen["position_ids"].tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]


def test_positions_of_roberta_start_behind_its_padding_index() -> None:
    ids, mask = tiny_models.pad(tiny_models.sequences((2, 4)), "left")
    seen = inputs_of(tiny_models.build("roberta"), "encoder", ids, mask)
    assert seen["position_ids"].tolist() == [[2, 2, 2, 3], [2, 3, 4, 5]]


@pytest.mark.parametrize(
    ("side", "decoder_ids", "decoder_mask"),
    [
        ("right", [[0, 7, 8, 9, 9], [0, 3, 4, 5, 6]], [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]),
        ("left", [[9, 9, 0, 7, 8], [0, 3, 4, 5, 6]], [[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]),
    ],
)
def test_decoder_reads_the_text_behind_its_start_token(
    side: str, decoder_ids: list[list[int]], decoder_mask: list[list[int]]
) -> None:
    rows = [torch.tensor([7, 8]), torch.tensor([3, 4, 5, 6])]
    ids, mask = tiny_models.pad(rows, side, pad_id=9)
    kept = ids.clone(), mask.clone()
    seen = inputs_of(tiny_models.build("t5"), "encoder-decoder", ids, mask)
    real = torch.tensor(decoder_mask).bool()
    assert seen["decoder_attention_mask"].tolist() == decoder_mask
    assert torch.equal(seen["decoder_input_ids"][real], torch.tensor(decoder_ids)[real])
    assert torch.equal(ids, kept[0]) and torch.equal(mask, kept[1])


def test_token_offsets() -> None:
    assert token_offset("encoder", "encoder") == token_offset("decoder", "decoder") == 0
    assert token_offset("encoder-decoder", "encoder") == 0
    assert token_offset("encoder-decoder", "decoder") == 1
    assert token_offset("encoder-decoder", "cross") == 1


def test_fixed_positions_refuse_padding_on_the_left() -> None:
    body = tiny_models.build("bart")
    rows = tiny_models.sequences((3, 5))
    with pytest.raises(UserError, match="BartModel counts positions from the left edge"):
        forward(body, "encoder-decoder", *tiny_models.pad(rows, "left"))
    forward(body, "encoder-decoder", *tiny_models.pad(rows, "right"))


def test_last_token_follows_the_mask() -> None:
    """The trap of ``hidden[:, -1]``: with padding on the right it is not the last token."""
    body = tiny_models.build("llama_gqa")
    rows = tiny_models.sequences((3, 6))
    ids, mask = tiny_models.pad(rows)
    hidden = forward(body, "decoder", ids, mask).last_hidden_state
    alone = forward(body, "decoder", rows[0][None], torch.ones(1, 3).long()).last_hidden_state
    torch.testing.assert_close(hidden[0, mask[0].sum() - 1], alone[0, -1], rtol=0, atol=1e-10)
    assert (hidden[0, -1] - alone[0, -1]).abs().max() > 1e-3
