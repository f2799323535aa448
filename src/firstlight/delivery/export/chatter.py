"""Keep what exporters say about their own work off the terminal."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = ("root", "torch.onnx", "torch.export", "torch.fx", "onnxscript", "onnx_ir")


@contextmanager
def no_chatter() -> Iterator[None]:
    """Show no warning, and no log line of exporters, within the block."""
    quiet = logging.NullHandler()  # without any handler, the first line for the root logger sets up one for good
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger().addHandler(quiet)
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(quiet)
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
