"""Several generators at once, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import Any, TypeVar

from ...lazy import torch

T = TypeVar("T")


def side_by_side(many: Sequence[Generator[T, None, None]], over: Event) -> Generator[T, None, None]:
    """What all of them yield, as it comes. Each goes on once what it gave has been seen to.

    Their threads compute on one core each. `over` is set when nobody listens any more: a generator that looks at it
    may end then.
    """
    if len(many) == 1:
        yield from many[0]
        return
    told: SimpleQueue[tuple[_Lane, Any]] = SimpleQueue()
    lanes = [_Lane(one, told, over) for one in many]
    for lane in lanes:
        lane.start()
    try:
        while lanes:
            lane, event = told.get()
            if isinstance(event, _End):
                lanes.remove(lane)
                if event.error is not None:
                    raise event.error
            else:
                yield event
                lane.seen.release()
    finally:
        over.set()
        for lane in lanes:
            lane.seen.release()
            lane.join()


class _End:
    """What a generator ended with."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Lane(Thread):
    """Moves one generator."""

    def __init__(self, one: Generator[Any, None, None], told: SimpleQueue[tuple[_Lane, Any]], over: Event) -> None:
        super().__init__(name="dlx-lane")
        self.one, self.told, self.over = one, told, over
        self.seen = Semaphore(0)

    def run(self) -> None:
        torch.set_num_threads(1)  # of this thread alone
        try:
            for event in self.one:
                self.told.put((self, event))
                self.seen.acquire()
                if self.over.is_set():
                    self.one.close()
                    return
        except BaseException as error:  # noqa: BLE001 # raised where it is listened to
            self.told.put((self, _End(error)))
        else:
            self.told.put((self, _End()))
