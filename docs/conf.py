"""Configuration of the documentation: ``make docs`` builds it, offline, warnings are errors."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS / "_extensions"))

from probes.core.version import __version__  # noqa: E402

project = "headprobes"
author = "The headprobes authors"
copyright = "The headprobes authors"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "argument_lines",  # in docs/_extensions; sees docstrings before napoleon does
    "api_pages",
    "configuration_keys",
]
exclude_patterns = ["_build", "_extensions", "generated"]
myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3

autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    # made by scikit-learn, with references into its own documentation
    "exclude-members": "set_fit_request, set_predict_request, set_score_request",
}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False  # those of libraries are not written for this page
suppress_warnings = ["ref.python"]  # a name in a type hint that several classes have
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

toc_object_entries = False  # thousands of entries in the navigation of each page

html_theme = "furo"
html_title = f"headprobes {release}"
html_show_sphinx = False
html_copy_source = False
pygments_style = "friendly"
