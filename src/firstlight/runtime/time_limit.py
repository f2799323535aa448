"""A limit of time for a call that has none of its own, such as looking up the name of a host."""

import threading
from collections.abc import Callable
from typing import Any


def answer_within(seconds: float, call: Callable[[], Any]) -> Any:
    """Return what `call` returns; stop waiting after so many seconds, and leave it running in the background.

    Raises:
        TimeoutError: if there is no answer by then.
        Exception: what `call` raised.
    """
    answers: list[Any] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            answers.append(call())
        except BaseException as error:
            errors.append(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError(f"no answer in {seconds:g} seconds")
    return answers[0]
