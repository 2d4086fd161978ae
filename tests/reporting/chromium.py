"""Opening a page in headless Chromium, as a user's browser would."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=5000",
)
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")
"""Of a test that does nothing but open a page, which would be written for nothing."""


def opened(page: Path, *, after: str = "", width: int = 1280) -> str:
    """The document of the page once its scripts have run; ``after`` runs behind them.

    width: of the window, in pixels; Chromium's least is 500.

    Skips the rest of the test where Chromium is not installed.
    """
    if BROWSER is None:
        pytest.skip("Chromium is not installed")
    if after:
        changed = page.read_text().replace("</body>", f"<script>{after}</script></body>")
        page = page.with_name("after.html")
        page.write_text(changed)
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [
                BROWSER,
                *FLAGS,
                f"--window-size={width},900",
                f"--user-data-dir={profile}",
                "--dump-dom",
                page.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert "data-ready" in done.stdout, done.stderr[-2000:]
    return done.stdout
