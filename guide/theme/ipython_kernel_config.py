"""How IPython draws the site's figures."""

import os

os.environ["FIRSTLIGHT_PROGRESS"] = (
    "off"  # it would stay on the page, with how long it took
)

c = get_config()  # noqa: F821 - IPython defines it
c.InlineBackend.figure_formats = {"svg"}
c.HistoryManager.enabled = False
c.InteractiveShell.ast_node_interactivity = (
    "none"  # otherwise `<Axes: >` appears below every figure
)
# otherwise it warns that it talks to the site's builder in plain text
c.IPKernelApp.log_level = "ERROR"
