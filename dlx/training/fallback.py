"""Where a training goes on after the quicker ways to take its steps went wrong: the plain step, and a sentence.

The quicker ways (a step replayed without autograd, steps of several networks as one, all of them as one function of
TorchScript, optimizers without torch's bookkeeping) stand on parts of torch that are not public or are being retired.
Each is left where anything goes wrong in it, with what it has moved so far taken back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import first_line
from ..lazy import torch
from ..utils.torch_private import MissingNameError

STEP = "the steps were taken under autograd"
PACK = "the steps were taken by each network alone"
SCRIPT = "the steps were taken operation by operation, without TorchScript"
OPTIMIZER = "the optimizer took its steps by torch's own method"
LISTS = "weights were moved one tensor at a time"
SKIPPED = "updates that were left out were counted by the loss scale"


class UntraceableError(Exception):
    """The step is not the same list of operations each time, or cannot be told so; the message says why.

    Expected: it is no fault of torch, and is only told of where the spec insists on replayed steps.
    """


def reason(error: Exception) -> str:
    """What went wrong: a name that torch lacks, or an error of any other kind."""
    return str(error) if isinstance(error, MissingNameError) else f"{type(error).__name__}: {first_line(error)}"


def note(faults: Iterable[list[str]], instead: str, error: Exception) -> str:
    """Put down what was done instead and why, once, among the faults of each learner; gives the reason."""
    why = reason(error)
    for known in faults:
        if (text := f"{instead}: {why}") not in known:
            known.append(text)
    return why


class Before:
    """Buffers and random generators as they are now, to bring back after a step that was only tried."""

    def __init__(self, network: torch.nn.Module, generators: Iterable[torch.Generator] = ()) -> None:
        self.buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
        self.drawn, self.others = torch.get_rng_state(), [(one, one.get_state()) for one in generators]

    def bring_back(self) -> None:
        with torch.no_grad():
            for buffer, was in self.buffers:
                buffer.copy_(was)
        torch.set_rng_state(self.drawn)
        for generator, was in self.others:
            generator.set_state(was)

    def __enter__(self) -> Before:
        return self

    def __exit__(self, *error: Any) -> None:
        self.bring_back()
