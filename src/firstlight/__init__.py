"""firstlight: an image classifier you can trust, from a folder of labelled pictures."""

__version__ = "0.1.0"
