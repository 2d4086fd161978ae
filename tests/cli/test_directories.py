"""A directory that cannot be made is one message, which names the setting that chose it."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes.cli import commands as cli
from probes.cli.directories import not_made_for
from probes.core.directories import make_directory
from probes.core.errors import UserError

SMALL = ("debug=default", "logger=none", "trainer.progress=false")


def impossible(tmp_path: Path, kind: str) -> Path:
    """A path at which the system makes no directory, whoever asks."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "below")
    (tmp_path / "there").mkdir()
    names = {
        "file": "file",
        "below a file": "file/x/y",
        "below a link to nothing": "link/x",
        "long": "x" * 300,
    }
    return tmp_path / names[kind] if kind in names else Path(kind)


KINDS = ["file", "below a file", "below a link to nothing", "long", "/proc/x/y", "/dev/null/x"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_made_is_said(kind: str, tmp_path: Path) -> None:
    path = impossible(tmp_path, kind)
    with pytest.raises(UserError) as error:
        make_directory(path, "cache_dir")
    assert error.value.wrong.startswith(f"cache_dir={str(path)[:60]}")
    assert error.value.fix.startswith("cache_dir=DIRECTORY")
    assert len(str(error.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("key", "before", "kind"),
    [
        *(("hydra.run.dir", (), kind) for kind in KINDS),
        # The same function makes these, and the checks above are of every kind.
        *(("hydra.sweep.dir", ("-m", "seed=1,2"), kind) for kind in KINDS[1:4:2]),
        *(("cache_dir", (), kind) for kind in KINDS[1:4:2]),
    ],
)
def test_a_command_ends_with_one_message(
    key: str,
    before: tuple[str, ...],
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    path = impossible(tmp_path, kind)
    status = cli.run_command([*before, *SMALL, f"{key}='{path}'"])
    errors = capsys.readouterr().err
    assert status == 2 and "Traceback" not in errors, errors
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {key}=") or (kind == "long" and "is too long" in line)


def test_a_directory_of_no_override_names_the_run(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Errno") as error:
        impossible(tmp_path, "file").mkdir()
    said = not_made_for(error.value, ["cache_dir=elsewhere", "hydra.run.dir=out/${seed}"])
    assert said is not None and said.wrong.startswith(f"hydra.run.dir={tmp_path / 'file'}")


def test_other_errors_are_no_matter_of_directories(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        (tmp_path / "no" / "such").mkdir()
    with pytest.raises(FileNotFoundError) as unread:
        (tmp_path / "no").read_text()
    for error in (missing.value, unread.value, ValueError("x")):
        assert not_made_for(error, [f"hydra.run.dir={tmp_path / 'no'}"]) is None
