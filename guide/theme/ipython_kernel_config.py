"""How IPython draws the site's figures."""

c = get_config()  # noqa: F821 - IPython defines it
c.InlineBackend.figure_formats = {"svg"}
c.HistoryManager.enabled = False
c.InteractiveShell.ast_node_interactivity = (
    "none"  # otherwise `<Axes: >` appears below every figure
)
# otherwise it warns that it talks to the site's builder in plain text
c.IPKernelApp.log_level = "ERROR"
