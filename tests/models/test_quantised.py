"""Checkpoints of fewer bits: read where their method works, refused with the reason elsewhere."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from probes.config import ModelConfig
from probes.core.errors import UserError
from probes.models.forward import forward
from probes.models.loading import open_model
from probes.models.padding import PaddingError
from probes.models.sites import Site, find_sites
from probes.models.verification import identity_error, verify_sites
from tests.tiny_checkpoints import make_tokenizer
from tests.tiny_models import build_with_head

BLOCK = 16
FP8 = {"quant_method": "fp8", "weight_block_size": [BLOCK, BLOCK], "activation_scheme": "dynamic"}
NEEDS_PACKAGE: dict[str, tuple[dict[str, Any], str]] = {
    "bitsandbytes": ({"load_in_8bit": True}, "bitsandbytes"),
    "awq": ({"bits": 4, "group_size": 128, "version": "gemm", "zero_point": True}, "gptqmodel"),
    "gptq": ({"bits": 4, "group_size": 128, "desc_act": False}, "optimum"),
    "compressed-tensors": (
        {"format": "float-quantized", "config_groups": {}},
        "compressed_tensors",
    ),
    "torchao": ({"quant_type": "int8_weight_only"}, "torchao"),
}
"""Method -> the rest of its config, and the package that it needs."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("plain")
    model = build_with_head(
        "llama_gqa", vocab_size=320, hidden_size=128, head_dim=32, intermediate_size=128
    )
    model.to(torch.float32).save_pretrained(directory)
    make_tokenizer().save_pretrained(directory)
    return directory


def described(plain: Path, directory: Path, quantisation: Any) -> Path:
    """The checkpoint with another word in its config about how its weights are stored."""
    shutil.copytree(plain, directory)
    config = json.loads((directory / "config.json").read_text())
    config["quantization_config"] = quantisation
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def activations(body: Any) -> dict[Site, torch.Tensor]:
    """What each head site of a body holds on a few tokens; the sites are verified."""
    from probes.models.hooks import hooked

    sites = [site for site in find_sites(body, "heads") if site.kind == "heads"]
    # Which columns bitsandbytes multiplies in 8 bits depends on the batch: one text at a time then.
    with contextlib.suppress(PaddingError):
        verify_sites(body, sites)
    read: dict[Site, torch.Tensor] = {}
    tokens = torch.arange(3, 15)[None]
    with hooked(body, sites, lambda site, z: read.__setitem__(site, z.clone())):
        forward(body, "decoder", tokens, torch.ones_like(tokens))
    return read


def test_fp8_is_read_as_what_it_stands_for(plain: Path, tmp_path: Path) -> None:
    """Blocks of 8-bit numbers with a scale each, as DeepSeek and Qwen store them."""
    directory = described(plain, tmp_path / "fp8", FP8)
    stored, meant = {}, {}
    for name, weight in load_file(directory / "model.safetensors").items():
        stored[name] = meant[name] = weight
        if name.endswith("proj.weight"):
            rows, columns = weight.shape
            blocks = weight.view(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
            scale = blocks.abs().amax((1, 3)) / 448
            small = (blocks / scale[:, None, :, None]).to(torch.float8_e4m3fn)
            stored[name] = small.view(rows, columns)
            stored[f"{name}_scale_inv"] = scale
            meant[name] = (small.float() * scale[:, None, :, None]).view(rows, columns)
    save_file(stored, directory / "model.safetensors", metadata={"format": "pt"})
    exact = described(plain, tmp_path / "exact", None)
    save_file(meant, exact / "model.safetensors", metadata={"format": "pt"})
    settings = ModelConfig(name=str(directory), device="cpu", dtype="float32")
    handle = open_model(settings)
    if torch.cuda.is_available():
        pytest.skip("a GPU computes with 8-bit products")
    got = activations(handle.load())
    wanted = activations(open_model(ModelConfig(name=str(exact), device="cpu")).load())
    for site, z in wanted.items():
        torch.testing.assert_close(got[site], z, rtol=1e-5, atol=1e-5)
    assert handle.fingerprint != open_model(ModelConfig(name=str(exact))).fingerprint


@pytest.mark.parametrize("method", NEEDS_PACKAGE)
def test_a_package_that_is_missing_is_named_when_the_model_is_opened(
    plain: Path, tmp_path: Path, method: str
) -> None:
    settings, package = NEEDS_PACKAGE[method]
    if importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    directory = described(plain, tmp_path / "q", {"quant_method": method, **settings})
    with pytest.raises(UserError, match=f"its weights cannot be read .*{package.split('_')[0]}"):
        open_model(ModelConfig(name=str(directory)))
    # Fresh weights are plain ones.
    open_model(ModelConfig(name=str(directory), random_init=True)).load()


@pytest.mark.parametrize(
    ("quantisation", "message"),
    [
        ({"quant_method": "strange"}, "quantised by 'strange', which .* know; allowed: .*fp8"),
        ({"bits": 4}, "quantised by an unnamed method"),
        ("nonsense", "its config cannot be read"),
    ],
)
def test_an_unknown_method_is_not_read_as_plain_weights(
    plain: Path, tmp_path: Path, quantisation: Any, message: str
) -> None:
    directory = described(plain, tmp_path / "q", quantisation)
    with pytest.raises(UserError, match=message):
        open_model(ModelConfig(name=str(directory)))


def test_shapes_that_the_kernels_refuse_are_one_message(plain: Path) -> None:
    """As bitsandbytes does on a CPU for rows shorter than its blocks, at the first product."""
    body: Any = open_model(ModelConfig(name=str(plain), device="cpu")).load()
    body.config.quantization_config = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    sites = find_sites(body, "heads")

    def refused(*args: Any) -> None:
        raise AssertionError("N must be divisible by block_n")

    body.get_submodule(sites[0].module).forward = refused
    with pytest.raises(UserError, match=r"quantised weights cannot .*divisible") as error:
        verify_sites(body, sites)
    assert error.value.fix.startswith("model.device=cuda")


@pytest.mark.parametrize("head_dim", [8, 12])
def test_bitsandbytes_with_rows_shorter_than_its_blocks(
    plain: Path, tmp_path: Path, head_dim: int
) -> None:
    pytest.importorskip("bitsandbytes")
    if torch.cuda.is_available():
        pytest.skip("kernels of a GPU take these shapes")
    model = build_with_head(
        "llama_gqa", vocab_size=320, hidden_size=128, head_dim=head_dim, intermediate_size=128
    )
    model.to(torch.float32).save_pretrained(tmp_path / "p")
    config = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32
    )
    small = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "p", quantization_config=config
    )
    small.save_pretrained(tmp_path / "q")
    make_tokenizer().save_pretrained(tmp_path / "q")
    body: Any = open_model(ModelConfig(name=str(tmp_path / "q"), device="cpu")).load()
    with pytest.raises(UserError, match="quantised weights cannot"):
        verify_sites(body, find_sites(body, "heads"))


@pytest.mark.parametrize("bits", [4, 8])
def test_bitsandbytes(plain: Path, tmp_path: Path, bits: int) -> None:
    """Projections whose weights are packed: read like others, verified by what they compute."""
    pytest.importorskip("bitsandbytes")
    config = transformers.BitsAndBytesConfig(
        load_in_4bit=bits == 4, load_in_8bit=bits == 8, bnb_4bit_compute_dtype=torch.float32
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(plain, quantization_config=config)
    model.save_pretrained(tmp_path / "q")
    make_tokenizer().save_pretrained(tmp_path / "q")
    handle = open_model(ModelConfig(name=str(tmp_path / "q"), device="cpu"))
    body: Any = handle.load()
    sites = find_sites(body, "heads")
    got = activations(body)
    wanted = activations(open_model(ModelConfig(name=str(plain), device="cpu")).load())
    assert {(s.layer, s.units, s.width) for s in got} == {
        (s.layer, s.units, s.width) for s in wanted
    }
    for site, z in got.items():
        exact = wanted[next(s for s in wanted if s.layer == site.layer)]
        assert torch.corrcoef(torch.stack([z.flatten(), exact.flatten()]))[0, 1] > 0.5
        # The identity by outputs is no formality: exchanged heads fail it.
        module = body.get_submodule(site.module)
        output = module(z.flatten(-2))
        error, allowed = identity_error(body, site, z, output)
        assert error <= allowed
        error, allowed = identity_error(body, site, z.flip(-2), output)
        assert error > allowed
    assert sites
