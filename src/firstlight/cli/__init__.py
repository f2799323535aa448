"""The command line: one dataclass per command, each of which calls one function; the only room that handles flags."""

from firstlight.cli.entry import main

__all__ = ["main"]
