"""Time of a forward pass by batch size and device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from ...errors import DlxError
from ...lazy import torch
from ...spec.analyses import Analysis, Words
from ..measures.timing import Median, median, times
from ..result import Lines, Panel, Result

if TYPE_CHECKING:
    from ..subject import Subject


class ForwardTime(Analysis):
    """Seconds of one forward pass in evaluation mode, without gradients, by batch size and device.

    Each is the median of `repeats` passes after a first one that is not counted, with the order statistics that hold
    the median of all such passes with 95 %; on a GPU each waits for the device, and copying the inputs is not in it.
    `seconds_cpu_8` is that of a batch of 8, `per_example_cpu_8` that of one of its examples. Only figures of one
    machine and one call compare.
    Books: one example in a batch costs less than one alone, until the device is full; a GPU gains with the batch
    (CS231n 8.1: 64 to 76 times a CPU).
    """

    kind: ClassVar[str] = "forward_time"
    source: ClassVar[str] = "CS231n notes, section 8.1"
    example: ClassVar[str] = "dlx analyze forward_time cs231n/squeezenet1_1 --set batch_sizes=[1,2,4]"
    figures: ClassVar[tuple[str, ...]] = ("seconds_DEVICE_N", "per_example_DEVICE_N")

    batch_sizes: list[PositiveInt] = Field([1, 4, 16, 64], min_length=1, description="examples in a pass")
    devices: list[Literal["cpu", "cuda"]] = Field(
        [], description="where it runs; empty: the CPU, and a GPU if there is one"
    )
    repeats: PositiveInt = Field(30, description="passes that are timed")

    def words(self, subject: Subject) -> Words:
        return {"N": [str(size) for size in self.batch_sizes], "DEVICE": self.devices or ["cpu", "cuda"]}

    def run(self, subject: Subject) -> Result:
        """Time the passes, the smallest batch first."""
        there = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
        figures: dict[str, float] = {}
        rows, lines = [], []
        for name in self.devices or there:
            if name not in there:
                raise DlxError("there is no GPU that torch can use", hint="Set `devices: [cpu]`.")
            found = [self._time(subject, size, name) for size in sorted(self.batch_sizes)]
            for size, one in zip(sorted(self.batch_sizes), found, strict=True):
                figures[f"seconds_{name}_{size}"] = one.seconds
                figures[f"per_example_{name}_{size}"] = one.seconds / size
                rows.append([name, size, one.seconds, one.low, one.high, one.seconds / size])
            low, high = [one.low for one in found], [one.high for one in found]
            lines.append(Lines(name, sorted(self.batch_sizes), [one.seconds for one in found], low, high))
        panel = Panel("forward pass", "batch size", "seconds", tuple(lines), "log", "log")
        titles = ("device", "batch size", "median (s)", "from", "to", "an example (s)")
        threads = f"{torch.get_num_threads()} threads of the CPU; medians of {self.repeats} passes"
        return Result(figures, (panel,), (titles, rows), (threads,))

    def _time(self, subject: Subject, size: int, name: str) -> Median:
        """Return the time of a pass over a batch of a size."""
        network = subject.network().to(name)
        batch: Any = subject.examples(size)
        inputs = [one.to(name) for one in batch.inputs]
        if len(batch) < size:  # a part with fewer examples is gone through again
            inputs = [one.repeat(-(-size // len(one)), *[1] * (one.dim() - 1))[:size] for one in inputs]
        wait = torch.cuda.synchronize if name == "cuda" else lambda: None
        with torch.inference_mode():
            return median(times(lambda: network(*inputs), self.repeats, wait))
