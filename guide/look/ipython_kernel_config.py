"""How the site's figures are drawn."""

c = get_config()  # noqa: F821 - IPython gives it
c.InlineBackend.figure_formats = {"svg"}
c.HistoryManager.enabled = False
c.InteractiveShell.ast_node_interactivity = "none"  # no `<Axes: >` below every figure
# it warns that it talks to the builder beside it in plain text
c.IPKernelApp.log_level = "ERROR"
