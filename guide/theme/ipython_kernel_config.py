"""How IPython draws the site's figures."""

import os

os.environ["FIRSTLIGHT_PROGRESS"] = (
    "off"  # it would stay on the page, with how long it took
)

c = get_config()  # noqa: F821 - IPython defines it
c.InlineBackend.figure_formats = {"svg"}
# the same figure is the same file: no random names in it, and no date
c.InlineBackend.rc = {"svg.hashsalt": "firstlight"}
c.InlineBackend.print_figure_kwargs = {
    "bbox_inches": "tight",
    "metadata": {"Date": None},
}
c.HistoryManager.enabled = False
c.InteractiveShell.ast_node_interactivity = (
    "none"  # otherwise `<Axes: >` appears below every figure
)
# otherwise it warns that it talks to the site's builder in plain text
c.IPKernelApp.log_level = "ERROR"
