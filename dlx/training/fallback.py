"""Fallback from the faster ways to take a step to the plain one, with a note of the reason.

The faster ways (a step replayed without autograd, steps of several networks as one, many steps as one function of
TorchScript, optimizers without torch's wrappers) use parts of torch that are not public or are being retired. On any
error in one of them what it has changed is restored, and the training goes on with the plain step to the same bits.
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
LAYOUT = "evaluations were computed without oneDNN's own layout"
SKIPPED = "updates that were left out were counted by the loss scale"


class UntraceableError(Exception):
    """The step is not the same list of operations each time, or that cannot be known; the message says why.

    An expected outcome and no fault of torch: it is reported only where the spec insists on replayed steps.
    """


def reason(error: Exception) -> str:
    """Return the reason in words: the name that torch lacks, or the kind and first line of another error."""
    return str(error) if isinstance(error, MissingNameError) else f"{type(error).__name__}: {first_line(error)}"


def note(faults: Iterable[list[str]], instead: str, error: Exception) -> str:
    """Add what is done instead and why, once, to the faults of each learner; return the reason."""
    why = reason(error)
    for known in faults:
        if (text := f"{instead}: {why}") not in known:
            known.append(text)
    return why


class Rollback:
    """Copies of buffers and random generators, to restore them after a step that is only tried.

    Weights need none: the optimizer, which alone changes them, does not run in such a step.
    """

    def __init__(self, network: torch.nn.Module, generators: Iterable[torch.Generator] = ()) -> None:
        self.buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
        self.rng_state, self.generators = torch.get_rng_state(), [(one, one.get_state()) for one in generators]

    def restore(self) -> None:
        with torch.no_grad():
            for buffer, was in self.buffers:
                buffer.copy_(was)
        torch.set_rng_state(self.rng_state)
        for generator, was in self.generators:
            generator.set_state(was)

    def __enter__(self) -> Rollback:
        return self

    def __exit__(self, *error: Any) -> None:
        self.restore()
