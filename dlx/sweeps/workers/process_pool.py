"""Workers in processes of their own, which live over many trials and exchange lines of JSON with the sweep over
pipes.

One that dies is replaced, and another continues its trials from their checkpoints. One whose parent is gone ends by
itself.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ...errors import RunError, plural
from ...training.device import available_threads
from ...utils.system import cores as usable_cores
from .base import ShouldStop, Task, Trainer, TrialOutcome
from .gpus import Gpu, MemoryDemand, Placement, place_packed, placement_text, useful_workers

TRIES = 3
"""Times that a training is started again after its worker died."""
LOOK = 0.2
"""Seconds between two checks whether the sweep is to stop."""
PATIENCE = 30.0
"""Seconds for a worker to end once its pipe is closed."""


@dataclass
class WorkerProcess:
    """One process, and its batch of tasks."""

    process: subprocess.Popen[bytes]
    gpu: int | None = None
    """Index of its GPU, where the sweep assigns them."""
    batch: list[Task] = field(default_factory=list)
    buffer: bytes = b""
    """Beginning of a line that has not ended."""
    stopping: bool = False

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # the process has died, which `receive` notices at the end of its output
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def lines(self) -> Iterator[dict[str, Any]] | None:
        """Return the messages that have arrived; None where the process has ended."""
        assert self.process.stdout is not None
        data = os.read(self.process.stdout.fileno(), 1 << 16)
        if not data:
            return None
        *whole, self.buffer = (self.buffer + data).split(b"\n")
        return (json.loads(line) for line in whole)


class Processes:
    """`jobs` processes, or as many as are useful, which share the cores; on GPUs at most as many as fit.

    `trainer` knows the memory that tasks need; `notify` is called with a sentence where workers do not fit.
    """

    def __init__(
        self,
        jobs: int | None,
        log: Path,
        pack: int = 1,
        gpus: Sequence[Gpu] = (),
        trainer: Trainer | None = None,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.jobs, self.log, self.pack = jobs, log, pack
        self.gpus, self.trainer, self.notify = gpus, trainer, notify
        self.workers: dict[int, WorkerProcess] = {}
        self.tries: dict[Task, int] = {}
        self.worker_count = jobs or 1
        """Workers at most."""
        self.placement: Placement | None = None
        self.demands: dict[str, MemoryDemand] = {}
        """Memory of all runs so far: a process never returns GPU memory that it has allocated."""
        self.most_tasks = 0
        """Largest number of tasks in one call."""

    @property
    def threads(self) -> int:
        """CPU threads of a worker: an equal share of the cores, or fewer where the environment says so."""
        return max(1, min(available_threads(), usable_cores() // self.worker_count))

    def advance(self, tasks: Sequence[Task], should_stop: ShouldStop) -> Iterator[TrialOutcome]:
        if self.gpus:
            self.place(tasks)
        waiting = deque(self.batches(tasks))
        while waiting or self.busy():
            if should_stop():
                yield from (_cut_off(task) for batch in waiting for task in batch)
                waiting.clear()
                self.request_stop()
            self.assign(waiting)
            for worker in self.ready():
                yield from self.receive(worker, waiting)

    def place(self, tasks: Sequence[Task]) -> None:
        """Assign a GPU to each worker; those that had another one are ended."""
        if self.trainer is not None:
            self.demands |= {
                task.run: self.trainer.memory_demand(task) for task in tasks if task.run not in self.demands
            }
        self.most_tasks = max(self.most_tasks, len(tasks))
        demands, cores = set(self.demands.values()), usable_cores()
        jobs = self.jobs or useful_workers(self.gpus, demands, self.most_tasks, self.pack, cores)
        found = place_packed([gpu.free for gpu in self.gpus], demands, jobs, self.most_tasks, self.pack)
        count = len(found.gpus)
        if count < jobs and (self.placement is None or count < self.worker_count):
            self.notify(placement_text(self.gpus, found, self.jobs))
        self.placement, self.worker_count = found, count
        self.end([i for i, worker in self.workers.items() if i >= count or worker.gpu != found.gpus[i]])

    def batches(self, tasks: Sequence[Task]) -> list[list[Task]]:
        """Return the tasks in batches; a worker packs those of a batch that can be packed."""
        if self.pack < 2:
            return [[task] for task in tasks]
        size = max(1, min(self.pack, -(-len(tasks) // self.worker_count)))
        return [list(tasks[i : i + size]) for i in range(0, len(tasks), size)]

    def busy(self) -> list[WorkerProcess]:
        return [worker for worker in self.workers.values() if worker.batch]

    def assign(self, waiting: deque[list[Task]]) -> None:
        """Send a batch to each idle worker, and start workers that are missing."""
        while waiting:
            number = next(
                (i for i in range(self.worker_count) if i not in self.workers or not self.workers[i].batch), None
            )
            if number is None:
                return
            worker = self.workers.get(number)
            if worker is None:
                worker = self.workers[number] = self.start(number)
            worker.batch, worker.stopping = waiting.popleft(), False
            worker.send({"tasks": [task.as_json() for task in worker.batch]})

    def request_stop(self) -> None:
        for worker in self.busy():
            if not worker.stopping:
                worker.stopping = True
                worker.send({"stop": True})

    def ready(self) -> list[WorkerProcess]:
        """Return the workers that have sent something, or died."""
        with selectors.DefaultSelector() as selector:
            for worker in self.busy():
                assert worker.process.stdout is not None
                selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
            return [key.data for key, _ in selector.select(LOOK)]

    def receive(self, worker: WorkerProcess, waiting: deque[list[Task]]) -> Iterator[TrialOutcome]:
        """Yield the outcomes that a worker has sent. Raises RunError where it reports an error that ends the
        sweep.
        """
        messages = worker.lines()
        if messages is None:
            yield from self.replace_dead(worker, waiting)
            return
        for message in messages:
            if "error" in message:
                raise RunError(message["error"], hint=message["hint"])
            outcome = TrialOutcome(**message)
            worker.batch = [t for t in worker.batch if (t.number, t.seed) != (outcome.number, outcome.seed)]
            yield outcome

    def replace_dead(self, worker: WorkerProcess, waiting: deque[list[Task]]) -> Iterator[TrialOutcome]:
        """Queue the tasks of a dead worker again, a few times."""
        code = worker.process.wait()
        number = next(i for i, one in self.workers.items() if one is worker)
        del self.workers[number]
        _close(worker.process)
        for task in reversed(worker.batch):
            self.tries[task] = self.tries.get(task, 0) + 1
            if worker.stopping:
                yield _cut_off(task)
            elif self.tries[task] > TRIES:
                message = (
                    f"its worker died {plural(self.tries[task], 'time')}, at last {_how(code)}; {self.log} says more"
                )
                yield TrialOutcome(task.number, task.seed, "failed", 0, message=message)
            else:
                waiting.appendleft([task])

    def start(self, number: int) -> WorkerProcess:
        gpu = self.placement.gpus[number] if self.placement is not None else None
        chosen = self.gpus[gpu].environment if gpu is not None else {}
        environment = os.environ | {"DLX_THREADS": str(self.threads), "PYTHONPATH": _path(), **chosen}
        with self.log.open("ab") as log:
            process = start_worker(self.pack, log, environment)
        return WorkerProcess(process, gpu)

    def close(self) -> None:
        """End all workers."""
        self.end(list(self.workers))

    def end(self, numbers: Sequence[int]) -> None:
        """End some workers, by closing their pipes."""
        workers = [self.workers.pop(number) for number in numbers]
        for worker in workers:
            assert worker.process.stdin is not None
            with suppress(OSError):
                worker.process.stdin.close()
        for worker in workers:
            try:
                worker.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            _close(worker.process)


def start_worker(pack: int, log: IO[bytes], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the process of a worker, with pipes."""
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", "-m", "dlx.sweeps.workers.worker_main", str(pack)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment,
        start_new_session=True,  # Ctrl-C reaches the sweep alone, which then stops its workers
    )


def _cut_off(task: Task) -> TrialOutcome:
    return TrialOutcome(task.number, task.seed, "cut off", 0)


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            if pipe is not None:
                pipe.close()


def _how(code: int) -> str:
    """Return how a process ended, in words."""
    if code >= 0:
        return f"with status {code}"
    with suppress(ValueError):
        return f"by {signal.Signals(-code).name}"
    return f"by signal {-code}"


def _path() -> str:
    """Return PYTHONPATH with the folder of this dlx first: `-P` keeps the working directory out of `sys.path`."""
    known = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(Path(__file__).parents[3]), *([known] if known else [])])


def serve(pack: int) -> int:
    """Run a worker: train the tasks of each line on stdin, and write a line for each outcome."""
    import threading

    from ...errors import DlxError

    output = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a library that prints must not write into the protocol: its output goes to the log
    trainer, stop, queue = Trainer(pack), threading.Event(), _Lines()
    threading.Thread(target=queue.read, args=(stop,), daemon=True).start()
    for message in queue:
        try:
            for outcome in trainer.advance([Task(**task) for task in message["tasks"]], stop.is_set):
                output.write(json.dumps(outcome.as_json()) + "\n")
        except DlxError as error:
            output.write(json.dumps({"error": error.problems[0].message, "hint": error.problems[0].hint}) + "\n")
        except BrokenPipeError:
            return 1
        trainer.forget()
    return 0


class _Lines:
    """Lines of stdin, read in a thread: batches are queued, a request to stop is set at once. At its end the
    process ends.
    """

    def __init__(self) -> None:
        import queue

        self.queue: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def read(self, stop: Any) -> None:
        import threading

        for line in sys.stdin.buffer:
            message = json.loads(line)
            if "stop" in message:
                stop.set()
            else:  # a request to stop is for the batch before it
                stop.clear()
                self.queue.put(message)
        stop.set()
        self.queue.put(None)
        # a long step looks for a stop only at its end: a worker without a sweep must not train on for hours
        leave = threading.Timer(PATIENCE / 2, os._exit, (1,))
        leave.daemon = True
        leave.start()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while (message := self.queue.get()) is not None:
            yield message
