"""Serve a model until a signal comes."""

import gc
import math
import socket
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from firstlight.delivery.engine import Wanted, engine_for
from firstlight.delivery.serve.binding import is_exposed, url_of
from firstlight.delivery.serve.guard.logs import logged_to_stderr
from firstlight.delivery.share.card import name_of
from firstlight.errors import UserError

if TYPE_CHECKING:
    from firstlight.models.classifier import Classifier


def run(
    model: "Classifier",
    sockets: Sequence[socket.socket],
    when_ready: Callable[[str], None],
    *,
    token: str | None = None,
    allow_hosts: Collection[str] = (),
    engine: Wanted = "auto",
    **choices: Any,
) -> None:
    """Answer requests with the predictions of a model until SIGTERM or Ctrl-C; those accepted are still answered.

    Args:
        model: on any device.
        sockets: from `binding.bind`.
        when_ready: called with the address once requests are answered.
        token: what requests have to carry, if anything.
        allow_hosts: names of this server besides those of the loopback.
        engine: what runs the model; see `engine_for`.
        choices: of the `Service`.

    Raises:
        UserError: if the extra `serve` is not installed, or a choice is wrong.
    """
    try:
        from firstlight.delivery.serve.app import make_app
        from firstlight.delivery.serve.guard.guarded import guarded
        from firstlight.delivery.serve.pages import PUBLIC
        from firstlight.delivery.serve.server import make_server
        from firstlight.delivery.serve.service import Service
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("firstlight"):
            raise
        raise UserError(f"{error.name} is not installed; pip install 'firstlight[serve]'") from None
    name = "model" if model.file is None else name_of(model.file)
    chosen = engine_for(model, engine, images=math.inf)
    with closing(Service(model, name=name, engine=chosen, **choices)) as service, logged_to_stderr():
        app = guarded(
            make_app(service),
            token=token,
            allow_hosts=allow_hosts,
            any_address=is_exposed(sockets),
            open_paths=PUBLIC,
        )
        service.start()
        server = make_server(app, when_ready=lambda: when_ready(url_of(sockets[0])), when_ending=service.drain)
        gc.collect()
        gc.freeze()  # what is loaded stays; looking through it again and again only delays answers
        server.run(list(sockets))
