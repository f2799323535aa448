"""What the server counts, as Prometheus reads it; no label is a text that a client or a file brought."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from firstlight.delivery.serve.guard.refusal import REFUSED
from firstlight.inference.prediction import Prediction

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32)
PATHS = frozenset({"/", "/predict", "/explain", "/health/live", "/health/ready", "/metrics", "/model", "/docs"})
KINDS = {
    "decoding takes": "time",
    "decoding needs": "memory",
    "the decoder crashed": "crash",
    "the model gives": "model",
}


class Histogram:
    """Counts of values up to each of some bounds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = (*bounds, float("inf"))
        self.counts = [0] * len(self.bounds)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.total += value
        for place, bound in enumerate(self.bounds):
            if value <= bound:
                self.counts[place] += 1
                return

    def lines(self, name: str, labels: str = "") -> list[str]:
        """Return it as Prometheus reads it."""
        found, so_far = [], 0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            so_far += count
            shown = "+Inf" if bound == float("inf") else f"{bound:g}"
            found.append(f'{name}_bucket{{{labels}{"," if labels else ""}le="{shown}"}} {so_far}')
        braces = f"{{{labels}}}" if labels else ""
        return [*found, f"{name}_sum{braces} {self.total:g}", f"{name}_count{braces} {so_far}"]


class Metrics:
    """All counts of a server. Batches are counted by the thread of the model, the rest by the event loop."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.seconds: dict[str, Histogram] = {}
        self.errors: Counter[str] = Counter()
        self.images = self.unsure = 0
        self.batch_sizes = Histogram(SIZES)
        self.batch_seconds = Histogram(SECONDS)
        self.seconds_per_image = 0.0

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """Count an answer."""
        name = path if path in PATHS else "/v2" if path.startswith("/v2") else "other"
        self.requests[name, status] += 1
        if name not in self.seconds:
            self.seconds[name] = Histogram(SECONDS)
        self.seconds[name].observe(seconds)

    def count_predictions(self, predictions: Sequence[Prediction]) -> None:
        """Count what was said about images."""
        self.images += len(predictions)
        for one in predictions:
            if one.error is not None:
                self.errors[next((kind for start, kind in KINDS.items() if one.error.startswith(start)), "image")] += 1
            self.unsure += one.unsure is True

    def count_batch(self, size: int, seconds: float) -> None:
        """Count a batch that went through the model."""
        self.batch_sizes.observe(size)
        self.batch_seconds.observe(seconds)
        self.seconds_per_image += 0.2 * (seconds / size - self.seconds_per_image)  # mostly of the last ten batches

    def text(self, waiting: int) -> str:
        """Return all counts in the text format of Prometheus.

        Args:
            waiting: how many images are accepted and not answered.
        """
        lines: list[str] = []

        def add(name: str, kind: str, about: str, values: list[str]) -> None:
            lines.extend([f"# HELP firstlight_{name} {about}", f"# TYPE firstlight_{name} {kind}", *values])

        add(
            "requests_total",
            "counter",
            "Requests by path and status.",
            [
                f'firstlight_requests_total{{path="{path}",code="{code}"}} {count}'
                for (path, code), count in sorted(self.requests.items())
            ],
        )
        add(
            "refused_total",
            "counter",
            "Requests refused before they reached the application, by status.",
            [f'firstlight_refused_total{{code="{code}"}} {count}' for code, count in sorted(REFUSED.items())],
        )
        add(
            "request_seconds",
            "histogram",
            "Time from the head of a request to its whole answer.",
            [
                line
                for path, found in sorted(self.seconds.items())
                for line in found.lines("firstlight_request_seconds", f'path="{path}"')
            ],
        )
        add("images_total", "counter", "Images that were answered.", [f"firstlight_images_total {self.images}"])
        add("unsure_total", "counter", "Images with an unsure answer.", [f"firstlight_unsure_total {self.unsure}"])
        add(
            "image_errors_total",
            "counter",
            "Images that could not be used, by what went wrong.",
            [
                f'firstlight_image_errors_total{{kind="{kind}"}} {self.errors[kind]}'
                for kind in ("image", *KINDS.values())
            ],
        )
        add(
            "waiting_images",
            "gauge",
            "Images that are accepted and not answered.",
            [f"firstlight_waiting_images {waiting}"],
        )
        add("batch_images", "histogram", "Images per batch.", self.batch_sizes.lines("firstlight_batch_images"))
        add(
            "batch_seconds",
            "histogram",
            "Time of the model per batch.",
            self.batch_seconds.lines("firstlight_batch_seconds"),
        )
        return "\n".join(lines) + "\n"


class Measure:
    """Counts the requests of an application, and how long they take."""

    def __init__(self, app: "ASGIApp", metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one request, as ASGI defines."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, status = time.perf_counter(), 500

        async def watch(message: "Message") -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            return await self.app(scope, receive, watch)
        finally:
            self.metrics.count_request(scope["path"], status, time.perf_counter() - start)
