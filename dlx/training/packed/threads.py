"""Run several generators at once, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import Any, TypeVar

from ...lazy import torch

T = TypeVar("T")


def run_in_threads(generators: Sequence[Generator[T, None, None]], stopped: Event) -> Generator[T, None, None]:
    """Yield what the generators yield, in the order in which it arises; an error in one of them is raised here.

    A generator goes on once the caller asks for the next event after its own: until then nothing in it moves. Each
    thread computes on one core. `stopped` is set when the caller closes this generator or an error ends it;
    generators may look at it to end early.
    """
    if len(generators) == 1:
        yield from generators[0]
        return
    events: SimpleQueue[tuple[_Worker, Any]] = SimpleQueue()
    workers = [_Worker(generator, events, stopped) for generator in generators]
    for worker in workers:
        worker.start()
    try:
        while workers:
            worker, event = events.get()
            if isinstance(event, _Finished):
                workers.remove(worker)
                if event.error is not None:
                    raise event.error
            else:
                yield event
                worker.handled.release()
    finally:
        # set before the release, or a worker that wakes up would take another step
        stopped.set()
        for worker in workers:
            worker.handled.release()
            worker.join()


class _Finished:
    """Last event of a worker: the error that ended its generator, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Worker(Thread):
    """Thread that runs one generator."""

    def __init__(
        self, generator: Generator[Any, None, None], events: SimpleQueue[tuple[_Worker, Any]], stopped: Event
    ) -> None:
        super().__init__(name="dlx-worker")
        self.generator, self.events, self.stopped = generator, events, stopped
        self.handled = Semaphore(0)

    def run(self) -> None:
        torch.set_num_threads(1)  # torch keeps the number a thread, so this changes nothing for others
        try:
            for event in self.generator:
                self.events.put((self, event))
                self.handled.acquire()
                if self.stopped.is_set():
                    self.generator.close()  # here, where it runs: what it holds is released by its own thread
                    return
        except BaseException as error:  # noqa: BLE001 # raised again by `run_in_threads`
            self.events.put((self, _Finished(error)))
        else:
            self.events.put((self, _Finished()))
