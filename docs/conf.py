"""Sphinx: ``sphinx-build -W docs build/docs`` makes the documentation site."""

import os

project = "nst_exp"
author = "The nst_exp authors"
extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
myst_heading_anchors = 3  # the anchors of headings are as on GitHub

# One page of docstrings for each package.
os.environ["SPHINX_APIDOC_OPTIONS"] = "members,show-inheritance"  # Sphinx reads no other setting
apidoc_modules = [{"path": "../nst_exp", "destination": "api", "max_depth": 1}]
apidoc_module_first = True
highlight_language = "text"
exclude_patterns = ["api/modules.rst", "api/nst_exp.rst"]  # docs/api.rst instead
suppress_warnings = ["ref.python"]  # a class that two modules export
autodoc_typehints = "description"
autodoc_typehints_format = "short"

html_theme = "furo"
html_title = project
html_show_copyright = False
