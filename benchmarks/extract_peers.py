"""The peers of the extraction benchmark: a bare pass, a published script, and three libraries.

Each gets the model in memory and the tokens, and returns the heads' outputs at every word's last
token, layer by layer: (rows, heads * d_head), in the order of the rows.
"""

from __future__ import annotations

import copy
import functools
import importlib.util
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.shapes import LoadedHandle
from probes.models.sites import Site, find_sites
from probes.passes.alignment import Alignment

Run = Callable[[dict[str, Tensor]], list[Tensor]]
"""The model's inputs -> every layer's z, batch and tokens first, with any trailing shape."""


@dataclass(frozen=True)
class Job:
    """What every contestant is given."""

    handle: LoadedHandle
    alignment: Alignment
    tokens_per_batch: int

    @functools.cached_property
    def sites(self) -> list[Site]:
        return find_sites(self.handle.body)

    def batches(self) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
        """Length-sorted batches under the token budget: sequences, and the model's inputs."""
        lengths, offsets = self.alignment.lengths, self.alignment.offsets
        order = np.argsort(-lengths, kind="stable")
        position = 0
        while position < len(order):
            longest = int(lengths[order[position]])
            chosen = order[position : position + max(1, self.tokens_per_batch // longest)]
            position += len(chosen)
            ids = torch.zeros(len(chosen), longest, dtype=torch.long)
            mask = torch.zeros_like(ids)
            for row, sequence in enumerate(chosen):
                begin, end = offsets[sequence], offsets[sequence + 1]
                ids[row, : end - begin] = torch.from_numpy(self.alignment.ids[begin:end].copy())
                mask[row, : end - begin] = 1
            yield chosen, {"input_ids": ids, "attention_mask": mask}

    def padding(self) -> float:
        """Share of padding in these batches, relative to the tokens."""
        padded = sum(inputs["input_ids"].numel() for _, inputs in self.batches())
        return padded / len(self.alignment.ids) - 1

    def rows_of(self, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows read in these sequences, the place of their sequence, and their token."""
        place = np.full(len(self.alignment.example), -1)
        place[sequences] = np.arange(len(sequences))
        row = np.flatnonzero(place[self.alignment.sequence] >= 0)
        return row, place[self.alignment.sequence[row]], self.alignment.last[row]


def options(job: Job) -> dict[str, Any]:
    """Without a cache of keys and values, where the model would keep one."""
    return {"use_cache": False} if job.handle.kind == "decoder" else {}


def bare(job: Job) -> None:
    """The forward passes alone."""
    with torch.inference_mode():
        for _, inputs in job.batches():
            job.handle.body(**inputs, **options(job))


def per_head_script(job: Job) -> list[np.ndarray]:
    """As the published scripts do: batch size 1, every token of every layer kept in memory."""
    kept: list[list[np.ndarray]] = [[] for _ in job.sites]
    seen: dict[int, Tensor] = {}
    hooks = [
        job.handle.body.get_submodule(site.module).register_forward_pre_hook(
            lambda module, args, layer=layer: seen.update({layer: args[0]})
        )
        for layer, site in enumerate(job.sites)
    ]
    offsets = job.alignment.offsets
    rows = np.split(
        job.alignment.last,
        np.searchsorted(job.alignment.sequence, np.arange(1, len(job.alignment.example))),
    )
    try:
        with torch.no_grad():
            for sequence, last in enumerate(rows):
                ids = job.alignment.ids[offsets[sequence] : offsets[sequence + 1]].astype(np.int64)
                job.handle.body(
                    input_ids=torch.from_numpy(ids)[None], output_hidden_states=True, **options(job)
                )
                for layer, z in seen.items():
                    kept[layer].append(z.detach().squeeze().cpu().numpy()[last])
    finally:
        for hook in hooks:
            hook.remove()
    return [np.concatenate(layer) for layer in kept]


def collect(job: Job, run: Run) -> list[np.ndarray]:
    """Batches through ``run`` with the rows kept in memory."""
    total = [
        np.empty((len(job.alignment), site.units * site.width), np.float16) for site in job.sites
    ]
    with torch.inference_mode():
        for sequences, inputs in job.batches():
            row, place, token = job.rows_of(sequences)
            for layer, z in enumerate(run(inputs)):
                picked = z.reshape(*inputs["input_ids"].shape, -1)[place, token]
                total[layer][row] = picked.half().numpy()
    return total


def nnsight(job: Job) -> Run:
    """NNsight around the body, saving the input of every projection."""
    import nnsight as library

    body = copy.deepcopy(job.handle.body)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # modules called "output" get another name
        model = library.NNsight(body)
    envoys = {id(envoy._module): envoy for envoy in model.modules()}
    projections = [envoys[id(body.get_submodule(site.module))] for site in job.sites]

    def run(inputs: dict[str, Tensor]) -> list[Tensor]:
        with model.trace(**inputs, **options(job)):
            saved = library.save([projection.input for projection in projections])
        return saved  # type: ignore[no-any-return]

    return run


def pyvene(job: Job) -> Run:
    """pyvene with a collecting function at the input of every projection, as honest_llama does."""
    import pyvene as library

    caught: list[Tensor] = []

    def keep(base: Tensor, source: Any = None, *args: Any, **kwargs: Any) -> Tensor:
        caught.append(base)
        return base

    def component(path: str) -> str:
        parts = path.split(".")
        return "".join(f"[{p}]" if p.isdigit() else f".{p}" for p in parts).lstrip(".")

    model = library.IntervenableModel(
        [{"component": f"{component(s.module)}.input", "intervention": keep} for s in job.sites],
        copy.deepcopy(job.handle.body),
    )

    def run(inputs: dict[str, Tensor]) -> list[Tensor]:
        caught.clear()
        model(base={**inputs, **options(job)})
        return list(caught)

    return run


def transformer_lens(job: Job) -> Run:
    """TransformerLens' bridge around the model with a vocabulary head, cached at ``hook_z``."""
    import transformers
    from transformer_lens.model_bridge import TransformerBridge

    decoder = job.handle.kind == "decoder"
    kind = transformers.AutoModelForCausalLM if decoder else transformers.AutoModelForMaskedLM
    whole = kind.from_config(job.handle.config).eval()
    body = copy.deepcopy(job.handle.body)
    setattr(whole, whole.base_model_prefix, body)
    model = TransformerBridge.boot_transformers(
        body.name_or_path, hf_model=whole, tokenizer=job.handle.tokenizer, device="cpu"
    )
    names = [f"blocks.{site.layer}.attn.hook_z" for site in job.sites]

    def run(inputs: dict[str, Tensor]) -> list[Tensor]:
        _, cache = model.run_with_cache(
            inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            names_filter=lambda name: name.endswith("hook_z"),
            return_type=None,
        )
        return [cache[name] for name in names]

    return run


LIBRARIES: dict[str, Callable[[Job], Run]] = {
    "nnsight": nnsight,
    "pyvene": pyvene,
    "transformer_lens": transformer_lens,
}
"""Name of the module -> what prepares it; each changes the body, so it gets a copy of its own."""


def installed(name: str) -> bool:
    """Whether the library of a peer is here."""
    return importlib.util.find_spec(name) is not None


def missing(name: str) -> str:
    """Why a library cannot run here; empty where it can."""
    return "" if installed(name) else "not installed; pip install -e .[benchmarks]"
