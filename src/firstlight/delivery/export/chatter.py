"""Keep what exporters say about their own work off the terminal."""

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

LOGGERS = ("root", "torch.onnx", "torch.export", "torch.fx", "onnxscript", "onnx_ir")


@contextmanager
def no_chatter() -> Iterator[None]:
    """Show no warning, no log line of PyTorch's exporters, and nothing that this thread prints, within the block."""
    quiet = logging.NullHandler()  # without any handler, the first line for the root logger sets up one for good
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    with (
        warnings.catch_warnings(),
        redirect_stdout(_OfOtherThreads(sys.stdout)),
        redirect_stderr(_OfOtherThreads(sys.stderr)),
    ):
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


class _OfOtherThreads:
    """A stream that drops what the thread that made it writes; a progress bar is drawn by another one."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._silent = stream, threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._silent else int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
