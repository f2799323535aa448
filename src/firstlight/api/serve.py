"""Serve a model over HTTP."""

from collections.abc import Callable, Collection
from contextlib import ExitStack

from firstlight.api.given import Model, classifier_of
from firstlight.delivery.engine import Wanted
from firstlight.delivery.serve.binding import bind
from firstlight.delivery.serve.guard.hosts import allowed_host
from firstlight.delivery.serve.guard.tokens import check_token
from firstlight.delivery.serve.run import run
from firstlight.inference.doubt import Sets
from firstlight.inference.predictor import TOP


def serve(
    model: Model,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    allow_hosts: Collection[str] = (),
    top: int = TOP,
    accept: float | None = None,
    sets: Sets = "overall",
    max_pixels: int | None = None,
    workers: int | None = None,
    engine: Wanted = "auto",
    when_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve a model over HTTP, with the predictions that `predict` makes, until Ctrl-C or SIGTERM.

    Args:
        model: from `load`, a run, its folder, or a `model.safetensors`.
        host: the address to listen on. Any but 127.0.0.1, ::1, and localhost can be reached from other machines, and
            needs a `token`.
        port: 0 takes a free one.
        token: what each request has to carry, as `Authorization: Bearer TOKEN`; at least 16 characters.
        allow_hosts: names, besides localhost, by which browsers and programs reach this server.
        top: how many classes each answer lists, the most probable first.
        accept: an answer is unsure if its probability is below this; see `predict`.
        sets: what nine of ten is true of; see `predict`.
        max_pixels: an image with more pixels is not decoded; by default the limit used in training.
        workers: number of processes that decode images; by default one for each processor.
        engine: what runs the model: `torch`; `onnx`, which makes an export first if there is none; or `auto`, whichever
            is faster here.
        when_ready: called with the address, such as `http://127.0.0.1:8000`, once requests are answered.

    Raises:
        WrongTypeError: if `model` is anything else.
        UserError: if the model file cannot be used, the address cannot be listened on, or the extra `serve` is not
            installed.
    """
    if token is not None:
        check_token(token)
    for name in allow_hosts:
        allowed_host(name)
    sockets = bind(host, port, has_token=token is not None)
    with ExitStack() as stack:
        for one in sockets:
            stack.enter_context(one)
        run(
            classifier_of(model),
            sockets,
            when_ready or (lambda address: None),
            token=token,
            allow_hosts=allow_hosts,
            engine=engine,
            top=top,
            accept=accept,
            sets=sets,
            max_pixels=max_pixels,
            workers=workers,
        )
