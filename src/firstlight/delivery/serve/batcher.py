"""`Batcher`: one thread that works on whatever is waiting, as one batch, as soon as it is free."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class Batcher(Generic[Job, Result]):
    """Hands jobs to a function in batches, without ever waiting for a batch to fill.

    A job that comes while the function is idle starts at once, alone; those that come meanwhile are the next batch.

    Args:
        work: gets at most `most` jobs, returns one result for each; called from one thread, one batch at a time.
        most: how many jobs a batch may have.
        name: of the thread.
    """

    def __init__(
        self, work: Callable[[Sequence[Job]], Sequence[Result]], most: int, *, name: str = "firstlight-model"
    ) -> None:
        self._work = work
        self._most = most
        self._waiting: SimpleQueue[tuple[Job, Future[Result]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> Future[Result]:
        """Return what will hold the result of a job, or what the function raised; canceling it drops a waiting job."""
        future: Future[Result] = Future()
        self._waiting.put((job, future))
        return future

    def close(self) -> None:
        """Finish the jobs that are waiting, and end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch, ends = [first], False
            with suppress(Empty):
                while len(batch) < self._most and not ends:
                    following = self._waiting.get_nowait()
                    if following is None:
                        ends = True
                    else:
                        batch.append(following)
            self._answer([(job, future) for job, future in batch if future.set_running_or_notify_cancel()])
            if ends:
                return

    def _answer(self, batch: list[tuple[Job, Future[Result]]]) -> None:
        if not batch:
            return
        try:
            results = self._work([job for job, _ in batch])
        except BaseException as error:  # whoever waits must hear of it; the thread goes on
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(result)
