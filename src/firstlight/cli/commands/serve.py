"""Serve a model over HTTP."""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from firstlight.cli.exit_codes import DONE
from firstlight.cli.flags import with_flags
from firstlight.cli.options import Positional
from firstlight.cli.terminal import tell
from firstlight.progress import announcements_to, phase
from firstlight.runtime.signals import importing


@dataclass(frozen=True)
class Serve:
    """Serve a model over HTTP, with a web page for people, until Ctrl-C."""

    EXAMPLE: ClassVar[str] = "firstlight serve runs/photos-1"

    model: Positional[Path]
    """A run folder, its model.safetensors, or hf:USER/NAME for a model on the Hugging Face Hub."""
    host: str = "127.0.0.1"
    """The address to listen on. The default can only be reached from this machine."""
    port: int = 8000
    """The port to listen on; 0 takes a free one."""
    token: str | None = None
    """Answer only requests that carry this token, of at least 16 characters. Other users of this machine can see it in
    the list of processes; the variable FIRSTLIGHT_TOKEN hides it."""
    allow_host: tuple[str, ...] = ()
    """Names, besides localhost, by which browsers and programs reach this server, such as classify.example.org."""
    top: int = 5
    """How many classes to list for each picture."""
    accept: float | None = None
    """Call an answer unsure if its probability is below this, from 0 to 1. By default, it is unsure if it takes more
    than one class to include the right one in 9 of 10 cases."""
    sets: Literal["overall", "by-class"] = "overall"
    """Include the right class in 9 of 10 cases over all pictures, or for each class, which leaves more classes
    possible."""
    max_pixels: int | None = None
    """Do not decode pictures with more pixels than this; the default is the limit used in training."""
    workers: int | None = None
    """Number of processes that decode pictures; the default is one for each processor."""
    device: str = "auto"
    """Device to use: auto (a GPU if there is one), cpu, cuda, cuda:1, or mps."""
    engine: Literal["auto", "torch", "onnx"] = "auto"
    """What runs the model: torch; onnx, which runs an export of it in ONNX Runtime, made first if there is none; or
    auto, whichever is faster here."""
    quiet: bool = False
    """Show no progress and no notes, only errors."""

    def run(self) -> int:
        """Serve until a signal comes."""
        from firstlight.delivery.serve.binding import bind, is_exposed
        from firstlight.delivery.serve.guard.hosts import allowed_host
        from firstlight.delivery.serve.guard.tokens import TOKEN_VARIABLE, check_token
        from firstlight.runtime.processors import sleep_while_waiting

        sleep_while_waiting()
        token = self.token if self.token is not None else os.environ.get(TOKEN_VARIABLE) or None
        if token is not None:
            check_token(token)
        for name in self.allow_host:
            allowed_host(name)
        sockets = bind(self.host, self.port, has_token=token is not None)
        with ExitStack() as stack:
            for one in sockets:
                stack.enter_context(one)
            with phase("loading PyTorch"), importing():
                from firstlight.delivery.serve.run import run
                from firstlight.inference.doubt import CANNOT_TELL
                from firstlight.models.model_file import load_model
                from firstlight.runs.folder import model_file
                from firstlight.runtime.device import pick_device

            with phase("loading the model"):
                model = load_model(model_file(self.model), pick_device(self.device))
            if model.trust is None:
                tell(f"note: {CANNOT_TELL}")
            if is_exposed(sockets):
                tell(
                    "note: other machines can reach this server, and what they send can be read on the way: it is not "
                    "encrypted; put a proxy that speaks HTTPS in front of it"
                )
            stack.enter_context(announcements_to(lambda line: tell(with_flags(line))))
            run(
                model,
                sockets,
                lambda address: tell(f"serving {self.model} at {address} (Ctrl-C ends it)"),
                token=token,
                allow_hosts=self.allow_host,
                engine=self.engine,
                top=self.top,
                accept=self.accept,
                sets=self.sets,
                max_pixels=self.max_pixels,
                workers=self.workers,
            )
        tell("stopped")
        return DONE
