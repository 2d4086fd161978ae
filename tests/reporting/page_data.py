"""The numbers that a page was written with, read from the page."""

from __future__ import annotations

import json
import re
from typing import Any


def page_data(text: str) -> dict[str, Any]:
    """What the scripts of this document draw from."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert found is not None
    data: dict[str, Any] = json.loads(found.group(1))
    return data
