"""Online or offline, settled without a question and within seconds."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from probes.reporting.reachable import reachable
from probes.reporting.tracking.wandb_mode import wandb_mode
from probes.reporting.tracking.wandb_start import FINISH_SECONDS, settings

MODULE = "probes.reporting.tracking.wandb_mode"


@pytest.fixture(autouse=True)
def _told(clean_wandb: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("probes"), "propagate", True)


@pytest.fixture
def logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    monkeypatch.setattr(wandb, "login", lambda **_: True)


def test_auto_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wandb_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert wandb_mode("auto") == "disabled"
    monkeypatch.setenv("WANDB_MODE", "dryrun")
    assert wandb_mode("auto") == "offline"


@pytest.mark.usefixtures("logged_in")
@pytest.mark.parametrize("mode", ["auto", "online"])
def test_logged_in(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr(f"{MODULE}.reachable", lambda url: True)
    assert wandb_mode(mode) == "online"
    assert wandb_mode("offline") == "offline"


@pytest.mark.parametrize(("key", "mode"), [(None, "offline"), ("secret", "online")])
def test_a_wandb_whose_login_always_asks_is_not_logged_in(
    monkeypatch: pytest.MonkeyPatch, key: str | None, mode: str
) -> None:
    import wandb

    def login(verify: bool = False) -> bool:
        raise AssertionError("it would ask for a key")

    monkeypatch.setattr(wandb, "login", login)
    monkeypatch.setattr(wandb, "api", SimpleNamespace(api_key=key))
    monkeypatch.setattr(f"{MODULE}.reachable", lambda url: True)
    assert wandb_mode("auto") == mode


def test_online_without_a_key_is_kept_offline(caplog: pytest.LogCaptureFixture) -> None:
    assert wandb_mode("online") == "offline"
    assert "no key on this machine" in caplog.text


def test_a_key_that_cannot_be_one_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import wandb

    def refuse(**_: object) -> bool:
        raise ValueError("API key must have 40+ characters, has 8: planted1")

    monkeypatch.setattr(wandb, "login", refuse)
    assert wandb_mode("online") == "offline"
    assert "ValueError" in caplog.text and "planted1" not in caplog.text


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("logged_in", "no_proxies")
@pytest.mark.parametrize("mode", ["auto", "online"])
def test_a_server_that_cannot_be_reached_ends_offline_soon(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("socket.create_connection", refused)
    began = time.monotonic()
    assert wandb_mode(mode) == "offline"
    assert [record.getMessage() for record in caplog.records if "reached" in record.getMessage()]
    assert time.monotonic() - began < 5


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A resolver that does not answer until the test is over."""
    over, threads = threading.Event(), threading.active_count()

    def wait(*_: object, **__: object) -> None:
        over.wait(30)
        raise OSError("too late")

    monkeypatch.setattr("socket.create_connection", wait)
    yield
    over.set()
    while threading.active_count() > threads:
        time.sleep(0.01)


@pytest.mark.usefixtures("hanging", "no_proxies")
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_resolver_that_hangs() -> None:
    began = time.monotonic()
    assert not reachable("https://api.wandb.ai", timeout=0.2)
    assert time.monotonic() - began < 5


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    "url",
    ["https://host:99999", "https://host:x", "https://" + "a" * 70 + ".b", "", "https://[::1"],
)
def test_addresses_that_are_none_cannot_be_reached(url: str) -> None:
    assert not reachable(url, timeout=1.0)


def test_a_server_that_listens_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert reachable(url)
        monkeypatch.delenv("no_proxy")
        monkeypatch.setenv("https_proxy", url)
        assert reachable("https://nowhere.invalid"), "through the proxy"


def test_the_end_of_a_run_waits_as_long_as_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    if "finish_timeout" not in wandb.Settings.model_fields:
        pytest.skip("this version waits for as long as it takes")
    assert settings().finish_timeout == FINISH_SECONDS
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "7")
    assert "finish_timeout" not in settings().model_fields_set
