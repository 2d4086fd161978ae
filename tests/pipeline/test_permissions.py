"""Files and directories that the user may not write or read: one message, and what only reads
works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import UNPRIVILEGED, Command
from tests.pipeline.conftest import Small, results_of
from tests.privileges import drop_privileges, mode, somebody_elses

TABLE = "text,label\n" + "".join(f"The cat sleeps {n} .,{n % 2}\n" for n in range(60))


class User:
    """Runs small commands as a user without privileges."""

    def __init__(self, small: Small) -> None:
        self.small = small

    def start(self, *arguments: str) -> Command:
        return self.small.commands.start(*arguments, **{UNPRIVILEGED: "1"})

    def probe(self, run_dir: Path, *more: str) -> Command:
        return self.start(*self.small.overrides, f"hydra.run.dir={run_dir}", *more)

    def refused(self, command: Command, *words: str) -> None:
        """It ended with one message that has these words."""
        assert command.wait() == 2, command.text
        assert command.text.count("error: ") == 1 and "Traceback" not in command.text, command.text
        assert all(word in command.text for word in words), command.text


@pytest.fixture(scope="module")
def user(small: Small) -> User:
    return User(small)


@pytest.fixture(scope="module")
def finished(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A sweep of one job that is another user's."""
    directory = tmp_path_factory.mktemp("finished") / "sweep"
    small.commands.run("-m", *small.overrides, f"hydra.sweep.dir={directory}", "seed=0")
    with somebody_elses(directory):
        yield directory


def test_an_output_directory_that_cannot_be_written(user: User, tmp_path: Path) -> None:
    with mode(tmp_path, 0o555):
        user.refused(user.probe(tmp_path / "run"), "hydra.run.dir=", "Permission denied")
        user.refused(user.probe(tmp_path), f"no permission to write {tmp_path}", "hydra.run.dir=")
        sweep = (f"hydra.sweep.dir={tmp_path / 'sweep'}", "seed=0,1")
        user.refused(user.start("-m", *user.small.overrides, *sweep), "hydra.sweep.dir=")
    assert not list(tmp_path.iterdir())


def test_a_cache_directory_that_cannot_be_written(user: User, tmp_path: Path) -> None:
    cache = tmp_path / "above" / "cache"
    cache.mkdir(parents=True)
    with mode(cache, 0o555):
        user.refused(user.probe(tmp_path / "a", f"cache_dir={cache}"), f"cache_dir={cache}")
        inside = cache / "inside"
        user.refused(user.probe(tmp_path / "b", f"cache_dir={inside}"), f"cache_dir={inside}")
    assert not list(cache.iterdir())


def test_activations_of_another_user_are_read(
    user: User, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    user.small.run(tmp_path / "first", f"cache_dir={cache}")
    with somebody_elses(cache):
        command = user.probe(tmp_path / "second", f"cache_dir={cache}")
        assert command.wait() == 0, command.text
    assert "activations reused" in command.text
    assert results_of(tmp_path / "second") == undisturbed


def test_a_finished_run_of_another_user_is_read(user: User, finished: Path, tmp_path: Path) -> None:
    run = str(finished / "0")
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    for arguments in (["compare", run, run], ["compare", run, run, "--png", f"{tmp_path}/d.png"]):
        command = user.start(*arguments)
        assert command.wait() == 0, command.text
    assert (tmp_path / "d.png").is_file()
    code = (
        "import sys; from probes import load_run; run = load_run(sys.argv[1]); "
        "table = run.map('upos'); run.probe('upos', layer=0, head=0); print(table.shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, run],
        capture_output=True,
        text=True,
        preexec_fn=drop_privileges,
    )
    assert done.returncode == 0 and done.stdout.startswith("("), done.stderr
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_a_finished_run_of_another_user_is_not_written(
    user: User, finished: Path, tmp_path: Path
) -> None:
    user.refused(user.probe(finished / "0"), "already holds a finished run")
    user.refused(user.start("sweep", str(finished)), f"no permission to write {finished}.")
    user.refused(user.start("compare", f"{finished}/0", f"{finished}/0", "--png",
                            f"{finished}/d.png"), "d.png")  # fmt: skip
    sweep = ("-m", *user.small.overrides, f"hydra.sweep.dir={finished}", "seed=0")
    user.refused(user.start(*sweep), "no permission to write", "hydra.sweep.dir=")


def test_a_copy_of_another_users_sweep_is_reported_again(
    user: User, finished: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "copy", copy_function=shutil.copyfile))
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (copy / "sweep.html").unlink()
    command = user.start("sweep", str(copy))
    assert command.wait() == 0, command.text
    assert "1 of 1 jobs finished" in command.text and (copy / "sweep.html").is_file()


def test_a_corpus_that_cannot_be_read(user: User, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    path = folder / "texts.csv"
    path.write_text(TABLE)
    others = [s for s in user.small.overrides if not s.startswith(("corpus.", "features="))]
    table = (*others, "corpus=table", f"corpus.path={path}", "+corpus.labels.label=label")
    with mode(path, 0o000):
        user.refused(
            user.start(*table, f"hydra.run.dir={tmp_path}/a"),
            "texts.csv cannot be read",
            "Permission denied",
        )
    with mode(folder, 0o000):
        user.refused(user.start(*table, f"hydra.run.dir={tmp_path}/b"), "no permission to read")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "."])
def test_a_model_that_cannot_be_read(
    user: User, llama_directory: Path, tmp_path: Path, name: str
) -> None:
    model = Path(shutil.copytree(llama_directory, tmp_path / "model"))
    with mode(model / name, 0o000):
        command = user.probe(tmp_path / "run", f"model.name={model}", f"cache_dir={tmp_path}/cache")
        user.refused(command, str(model))


@pytest.mark.slow
def test_no_home(small: Small, tmp_path: Path) -> None:
    """Below a file no directory can be made, by whomever."""
    nowhere = "/dev/null/home"
    own = ["hydra.run.dir=run", f"cache_dir={tmp_path / 'cache'}"]
    done = subprocess.run(
        [sys.executable, "-m", "probes", *small.overrides, *own],
        cwd=tmp_path,
        env={**os.environ, "HOME": nowhere},
        capture_output=True,
        text=True,
        preexec_fn=drop_privileges,
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
