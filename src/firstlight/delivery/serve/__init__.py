"""The HTTP server of a model, and its page."""
