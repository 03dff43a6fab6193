"""Trainers in processes of their own, which stay over many trials. They are spoken to in lines of JSON over pipes.

One that is killed is replaced, and its trials are taken up from their checkpoints by another. One whose parent is
gone ends by itself.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import RunError, plural
from .workers import Halting, Outcome, Task, Trainer

TRIES = 3
"""How often a training is taken up again after its worker died."""
LOOK = 0.2
"""Seconds between two looks whether the sweep is to halt."""
PATIENCE = 30.0
"""Seconds for a worker to end when it is told to."""


@dataclass
class Hand:
    """One process, and what it is at."""

    process: subprocess.Popen[bytes]
    batch: list[Task] = field(default_factory=list)
    heard: bytes = b""
    """The beginning of a line that has not ended."""
    stopping: bool = False

    def say(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it is dead, which is noticed when it is listened to
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def lines(self) -> Iterator[dict[str, Any]] | None:
        """What it has said; None where it is dead."""
        assert self.process.stdout is not None
        data = os.read(self.process.stdout.fileno(), 1 << 16)
        if not data:
            return None
        *whole, self.heard = (self.heard + data).split(b"\n")
        return (json.loads(line) for line in whole)


class Processes:
    """`jobs` processes, each with `threads` CPU threads; on a machine with several GPUs, one after the other."""

    def __init__(self, jobs: int, log: Path, pack: int = 1, threads: int | None = None) -> None:
        self.jobs, self.log, self.pack = jobs, log, pack
        self.threads = threads or max(1, len(os.sched_getaffinity(0)) // jobs)
        self.hands: dict[int, Hand] = {}
        self.tries: dict[Task, int] = {}

    def advance(self, tasks: Sequence[Task], halting: Halting) -> Iterator[Outcome]:
        waiting = deque(self.shared_out(tasks))
        while waiting or self.busy():
            if halting():
                yield from (_cut_off(task) for batch in waiting for task in batch)
                waiting.clear()
                self.tell_to_stop()
            self.hand_out(waiting)
            for hand in self.ready():
                yield from self.heard(hand, waiting)

    def shared_out(self, tasks: Sequence[Task]) -> list[list[Task]]:
        """The tasks in batches; a worker packs what it can of a batch."""
        if self.pack < 2:
            return [[task] for task in tasks]
        size = max(1, min(self.pack, -(-len(tasks) // self.jobs)))
        return [list(tasks[i : i + size]) for i in range(0, len(tasks), size)]

    def busy(self) -> list[Hand]:
        return [hand for hand in self.hands.values() if hand.batch]

    def hand_out(self, waiting: deque[list[Task]]) -> None:
        """Give each worker that has nothing to do a batch; start those that are missing."""
        while waiting:
            number = next((i for i in range(self.jobs) if i not in self.hands or not self.hands[i].batch), None)
            if number is None:
                return
            hand = self.hands.get(number)
            if hand is None:
                hand = self.hands[number] = self.start(number)
            hand.batch, hand.stopping = waiting.popleft(), False
            hand.say({"tasks": [task.as_json() for task in hand.batch]})

    def tell_to_stop(self) -> None:
        for hand in self.busy():
            if not hand.stopping:
                hand.stopping = True
                hand.say({"stop": True})

    def ready(self) -> list[Hand]:
        """Those that have said something, or died."""
        with selectors.DefaultSelector() as selector:
            for hand in self.busy():
                assert hand.process.stdout is not None
                selector.register(hand.process.stdout, selectors.EVENT_READ, hand)
            return [key.data for key, _ in selector.select(LOOK)]

    def heard(self, hand: Hand, waiting: deque[list[Task]]) -> Iterator[Outcome]:
        """The outcomes that a worker tells of. RunError where it says that no training can go on."""
        messages = hand.lines()
        if messages is None:
            yield from self.bury(hand, waiting)
            return
        for message in messages:
            if "error" in message:
                raise RunError(message["error"], hint=message["hint"])
            outcome = Outcome(**message)
            hand.batch = [t for t in hand.batch if (t.number, t.seed) != (outcome.number, outcome.seed)]
            yield outcome

    def bury(self, hand: Hand, waiting: deque[list[Task]]) -> Iterator[Outcome]:
        """A worker is dead: what it was at is taken up by another, a few times."""
        code = hand.process.wait()
        number = next(i for i, one in self.hands.items() if one is hand)
        del self.hands[number]
        _close(hand.process)
        for task in reversed(hand.batch):
            self.tries[task] = self.tries.get(task, 0) + 1
            if hand.stopping:
                yield _cut_off(task)
            elif self.tries[task] > TRIES:
                message = (
                    f"its worker died {plural(self.tries[task], 'time')}, at last {_how(code)}; {self.log} says more"
                )
                yield Outcome(task.number, task.seed, "failed", 0, message=message)
            else:
                waiting.appendleft([task])

    def start(self, number: int) -> Hand:
        environment = os.environ | {"DLX_THREADS": str(self.threads), "PYTHONPATH": _path(), **_gpu(number)}
        with self.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-m", "dlx.sweep.work", str(self.pack)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the sweep, which tells its workers
            )
        return Hand(process)

    def close(self) -> None:
        """End all of them: each when its pipe is closed."""
        for hand in self.hands.values():
            assert hand.process.stdin is not None
            with suppress(OSError):
                hand.process.stdin.close()
        for hand in self.hands.values():
            try:
                hand.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                hand.process.kill()
                hand.process.wait()
            _close(hand.process)
        self.hands.clear()


def _cut_off(task: Task) -> Outcome:
    return Outcome(task.number, task.seed, "cut off", 0)


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            if pipe is not None:
                pipe.close()


def _how(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"with status {code}"
    with suppress(ValueError):
        return f"by {signal.Signals(-code).name}"
    return f"by signal {-code}"


def _path() -> str:
    """Where this dlx lies, first."""
    known = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(Path(__file__).parents[2]), *([known] if known else [])])


def _gpu(number: int) -> dict[str, str]:
    """Which GPU a worker has, where there are several."""
    given = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    there = given or [path.name.removeprefix("nvidia") for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]
    return {"CUDA_VISIBLE_DEVICES": there[number % len(there)]} if len(there) > 1 else {}


def serve(pack: int) -> int:
    """What a worker does: bring the tasks of each line on stdin as far as they are to come, and tell of each."""
    import threading

    from ..errors import DlxError

    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever prints, prints into the log
    trainer, stop, queue = Trainer(pack), threading.Event(), _Lines()
    threading.Thread(target=queue.read, args=(stop,), daemon=True).start()
    for message in queue:
        try:
            for outcome in trainer.advance([Task(**task) for task in message["tasks"]], stop.is_set):
                told.write(json.dumps(_numbered(outcome)) + "\n")
        except DlxError as error:
            told.write(json.dumps({"error": error.problems[0].message, "hint": error.problems[0].hint}) + "\n")
        except BrokenPipeError:
            return 1
        trainer.forget()
    return 0


def _numbered(outcome: Outcome) -> dict[str, Any]:
    return outcome.as_json()


class _Lines:
    """What comes on stdin: batches one by one, and at once the word to stop. At its end, the process ends soon."""

    def __init__(self) -> None:
        import queue

        self.queue: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def read(self, stop: Any) -> None:
        import threading

        for line in sys.stdin.buffer:
            message = json.loads(line)
            if "stop" in message:
                stop.set()
            else:
                stop.clear()
                self.queue.put(message)
        stop.set()
        self.queue.put(None)
        leave = threading.Timer(PATIENCE / 2, os._exit, (1,))
        leave.daemon = True
        leave.start()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while (message := self.queue.get()) is not None:
            yield message
