"""Settings of the site: `make guide` runs the chapters; warnings are errors."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import finish  # noqa: E402 - needs the path above
import pages  # noqa: E402 - likewise

os.environ["IPYTHONDIR"] = str(pages.MADE / "ipython")
# otherwise the kernel's debugger warns in every chapter
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"

project = "firstlight"
author = "the founders of firstlight"
html_title = "firstlight"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
modules = ["conf.py", "chapters.py", "finish.py", "pages.py"]  # all others are chapters
exclude_patterns = ["site", "made", "theme", "axe", "how-to/*.py", *modules]
suppress_warnings = ["mystnb.unknown_mime_type"]

nb_custom_formats = {".py": "chapters.chapter"}
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 900  # seconds for one cell, on a busy machine
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
# on a slow machine, training writes its progress there, which is not an error
nb_output_stderr = "remove"
nb_code_prompt_show = "Show the solution"
nb_code_prompt_hide = "Hide the solution"
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]
myst_heading_anchors = 3

# docstrings put code between single backticks, as Markdown does
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes as a list, without a heading for each
smartquotes = False  # otherwise --flag gets a dash
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 90
add_module_names = False

html_theme = "furo"
html_static_path = ["theme/static"]
html_css_files = ["guide.css"]
# code can be copied, output cannot
copybutton_selector = "div:not(.output) > div.highlight pre"
html_copy_source = False
html_show_sphinx = False


def setup(app: object) -> None:
    """Generate pages before Sphinx reads the sources, and make signatures readable."""
    app.connect("builder-inited", lambda _app: pages.make())
    app.connect("autodoc-process-signature", pages.short_signature)
    app.connect("viewcode-follow-imported", pages.module_of_cached)
    # around napoleon, which would take the words before a colon for a type
    app.connect("autodoc-process-docstring", pages.hide_colons, priority=400)
    app.connect("autodoc-process-docstring", pages.show_colons, priority=600)
    app.connect("build-finished", finish.when_built)
