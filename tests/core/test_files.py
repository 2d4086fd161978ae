from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.synchronize
import os
from pathlib import Path

import pytest

from probes.core.errors import UserError
from probes.core.files import atomic_path, locked, read_json, sync_tree, write_atomically


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("durable", [False, True])
def test_content_is_replaced_at_once(tmp_path: Path, durable: bool, shared: bool) -> None:
    path = tmp_path / "a b.txt"
    write_atomically(path, "first", durable=durable, shared=shared)
    write_atomically(path, "zwölf\n", durable=durable, shared=shared)
    assert path.read_bytes() == "zwölf\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_atomically(path, b"old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_writers_without_a_lock_have_names_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    with atomic_path(path, shared=True) as one, atomic_path(path, shared=True) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"  # the outer block ended last
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "run.json.new").write_text("{")
    write_atomically(tmp_path / "run.json", "{}")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def hold(path: Path, taken: multiprocessing.synchronize.Event) -> None:
    with locked(path, wait_message="not said"):
        taken.set()


def test_a_lock_is_waited_for_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = multiprocessing.get_context("fork")
    taken = context.Event()
    path = tmp_path / "cache.lock"
    with locked(path, wait_message="nobody waits"):
        other = context.Process(target=hold, args=(path, taken))
        other.start()
        assert not taken.wait(0.3)
    assert taken.wait(10)
    other.join(10)
    with caplog.at_level(logging.INFO), locked(path, wait_message="nobody waits"):
        pass
    assert "nobody waits" not in caplog.text


def test_json_objects_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"name": "Zoë", "n": [1, null]}', encoding="utf-8")
    assert read_json(path) == {"name": "Zoë", "n": [1, None]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, r"a\.json: no such file\. Try another directory"),
        (b"{", r"a\.json: unreadable"),
        (b"\xff\xfe\x00", r"a\.json: unreadable"),
        (b"[" * 100_000, r"a\.json: unreadable"),
        (b"[1]", r"a\.json: holds no JSON object"),
    ],
)
def test_files_without_an_object_are_refused(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=says):
        read_json(path, fix="another directory")


def test_a_tree_is_synced_with_every_file_and_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run" / "maps").mkdir(parents=True)
    for name in ("results.csv", "maps/upos.png"):
        (tmp_path / "run" / name).write_text(name)
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    sync_tree(tmp_path / "run")
    every = [tmp_path, tmp_path / "run", *(tmp_path / "run").rglob("*")]
    assert {path.stat().st_ino for path in every} <= set(synced)


@pytest.mark.parametrize(
    "content", ['{"a": NaN}', '{"a": 1e999}', '{"a": ' + "[" * 99 + "]" * 99 + "}"]
)
def test_json_that_no_program_of_ours_writes_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match="unreadable"):
        read_json(tmp_path / "a.json")
