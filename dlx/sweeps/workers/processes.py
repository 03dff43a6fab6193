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
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import RunError, plural
from .base import Halting, Task, Trainer, TrialOutcome
from .gpus import Gpu, MemoryDemand, Placement, shared, told, useful

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
    gpu: int | None = None
    """Which of those there are, where the sweep gives them out."""
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
    """`jobs` processes, or as many as are of use, which share the cores; on GPUs only as many as there is room for.

    `home` knows what is to be trained, from which follows what it wants of a GPU; `say` is told of the workers that
    have no room.
    """

    def __init__(
        self,
        jobs: int | None,
        log: Path,
        pack: int = 1,
        gpus: Sequence[Gpu] = (),
        home: Trainer | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.jobs, self.log, self.pack = jobs, log, pack
        self.gpus, self.home, self.say = gpus, home, say
        self.hands: dict[int, Hand] = {}
        self.tries: dict[Task, int] = {}
        self.count = jobs or 1
        """Of the workers there may be."""
        self.placement: Placement | None = None
        self.wants: dict[str, MemoryDemand] = {}
        """Of all runs so far: what a process has taken of a GPU it keeps."""
        self.most = 0
        """Tasks that came together."""

    @property
    def threads(self) -> int:
        """CPU threads of a worker."""
        return max(1, len(os.sched_getaffinity(0)) // self.count)

    def advance(self, tasks: Sequence[Task], halting: Halting) -> Iterator[TrialOutcome]:
        if self.gpus:
            self.place(tasks)
        waiting = deque(self.shared_out(tasks))
        while waiting or self.busy():
            if halting():
                yield from (_cut_off(task) for batch in waiting for task in batch)
                waiting.clear()
                self.tell_to_stop()
            self.hand_out(waiting)
            for hand in self.ready():
                yield from self.heard(hand, waiting)

    def place(self, tasks: Sequence[Task]) -> None:
        """Say which worker has which GPU, and how many there are; those that have another one so far are ended."""
        if self.home is not None:
            self.wants |= {task.run: self.home.wants(task) for task in tasks if task.run not in self.wants}
        self.most = max(self.most, len(tasks))
        wants, cores = set(self.wants.values()), len(os.sched_getaffinity(0))
        jobs = self.jobs or useful(self.gpus, wants, self.most, self.pack, cores)
        found = shared([gpu.free for gpu in self.gpus], wants, jobs, self.most, self.pack)
        count = len(found.gpus)
        if count < jobs and (self.placement is None or count < self.count):
            self.say(told(self.gpus, found, self.jobs))
        self.placement, self.count = found, count
        self.end([i for i, hand in self.hands.items() if i >= count or hand.gpu != found.gpus[i]])

    def shared_out(self, tasks: Sequence[Task]) -> list[list[Task]]:
        """The tasks in batches; a worker packs what it can of a batch."""
        if self.pack < 2:
            return [[task] for task in tasks]
        size = max(1, min(self.pack, -(-len(tasks) // self.count)))
        return [list(tasks[i : i + size]) for i in range(0, len(tasks), size)]

    def busy(self) -> list[Hand]:
        return [hand for hand in self.hands.values() if hand.batch]

    def hand_out(self, waiting: deque[list[Task]]) -> None:
        """Give each worker that has nothing to do a batch; start those that are missing."""
        while waiting:
            number = next((i for i in range(self.count) if i not in self.hands or not self.hands[i].batch), None)
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

    def heard(self, hand: Hand, waiting: deque[list[Task]]) -> Iterator[TrialOutcome]:
        """The outcomes that a worker tells of. RunError where it says that no training can go on."""
        messages = hand.lines()
        if messages is None:
            yield from self.bury(hand, waiting)
            return
        for message in messages:
            if "error" in message:
                raise RunError(message["error"], hint=message["hint"])
            outcome = TrialOutcome(**message)
            hand.batch = [t for t in hand.batch if (t.number, t.seed) != (outcome.number, outcome.seed)]
            yield outcome

    def bury(self, hand: Hand, waiting: deque[list[Task]]) -> Iterator[TrialOutcome]:
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
                yield TrialOutcome(task.number, task.seed, "failed", 0, message=message)
            else:
                waiting.appendleft([task])

    def start(self, number: int) -> Hand:
        gpu = self.placement.gpus[number] if self.placement is not None else None
        chosen = self.gpus[gpu].environment if gpu is not None else {}
        environment = os.environ | {"DLX_THREADS": str(self.threads), "PYTHONPATH": _path(), **chosen}
        with self.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-m", "dlx.sweeps.workers.process", str(self.pack)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the sweep, which tells its workers
            )
        return Hand(process, gpu)

    def close(self) -> None:
        """End all of them."""
        self.end(list(self.hands))

    def end(self, numbers: Sequence[int]) -> None:
        """End some of them: each when its pipe is closed."""
        hands = [self.hands.pop(number) for number in numbers]
        for hand in hands:
            assert hand.process.stdin is not None
            with suppress(OSError):
                hand.process.stdin.close()
        for hand in hands:
            try:
                hand.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                hand.process.kill()
                hand.process.wait()
            _close(hand.process)


def _cut_off(task: Task) -> TrialOutcome:
    return TrialOutcome(task.number, task.seed, "cut off", 0)


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
    return os.pathsep.join([str(Path(__file__).parents[3]), *([known] if known else [])])


def serve(pack: int) -> int:
    """What a worker does: bring the tasks of each line on stdin as far as they are to come, and tell of each."""
    import threading

    from ...errors import DlxError

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


def _numbered(outcome: TrialOutcome) -> dict[str, Any]:
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
