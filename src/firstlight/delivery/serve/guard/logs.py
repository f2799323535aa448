"""The log on standard error: nothing that a client sends can add a line to it or control a terminal."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from firstlight.escaping import escape

LOGGERS = ("firstlight.serve", "uvicorn.error", "asyncio")
CHATTY = ("python_multipart",)  # warns of every damaged form, which is for its sender to know
MARGIN = "    | "  # of the lines of a traceback, so that none of them looks like an entry
LONGEST = 2000


class OneLineFormatter(logging.Formatter):
    """Writes each entry as one line, with its traceback, if any, indented below it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Return the entry, escaped."""
        time = self.formatTime(record, self.datefmt)
        lines = [f"{time} {record.levelname} {escape(record.getMessage())[:LONGEST]}"]
        if record.exc_info:
            lines += [MARGIN + escape(line)[:LONGEST] for line in self.formatException(record.exc_info).split("\n")]
        return "\n".join(lines)


@contextmanager
def logged_to_stderr() -> Iterator[None]:
    """Write warnings and errors of the server to standard error, escaped, and nothing else."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLineFormatter())
    before = [(logger, logger.level, logger.propagate) for logger in map(logging.getLogger, (*LOGGERS, *CHATTY))]
    for logger, _, _ in before:
        logger.addHandler(handler)
        logger.setLevel(logging.CRITICAL if logger.name in CHATTY else logging.WARNING)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, level, propagates in before:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagates
