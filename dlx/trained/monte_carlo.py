"""Monte Carlo dropout: answers of a network that drops at random, several times, with their mean and spread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import DlxError
from ..lazy import np, torch
from .answer_base import Answers
from .features import Named

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..objectives.regression import Regression
    from .answer_base import Array


@dataclass(frozen=True)
class Sampled(Answers):
    """The mean answer of several draws, and the standard deviation of its numbers over them.

    Source: Gal & Ghahramani 2016, Dropout as a Bayesian Approximation, arXiv:1506.02142, section 4.
    """

    mean: Answers
    each: tuple[Answers, ...]
    """The answer of each draw."""

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def labels(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.mean.labels

    @property
    def spread(self) -> dict[str, Array]:
        """Standard deviation over the draws of each array of floats, by its name."""
        floats = {name: array for name, array in self.mean.arrays.items() if array.dtype.kind == "f"}
        return {name: np.std([one.arrays[name] for one in self.each], axis=0, ddof=1) for name in floats}

    @property
    def arrays(self) -> dict[str, Array]:
        return {**self.mean.arrays, **{f"{name}_spread": array for name, array in self.spread.items()}}

    @property
    def titles(self) -> list[str] | None:
        titles = self.mean.titles
        if titles is None or not len(self):
            return titles
        numbers = zip(titles, self.mean.rows(0)[0], strict=True)
        return [*titles, *(f"sd({title})" for title, value in numbers if isinstance(value, float))]

    def rows(self, i: int) -> list[list[Any]]:
        (row,) = self.mean.rows(i)
        at = [k for k, value in enumerate(row) if isinstance(value, float)]
        numbers = np.array([[one.rows(i)[0][k] for k in at] for one in self.each])
        return [[*row, *np.std(numbers, axis=0, ddof=1).tolist()]]

    def as_json(self, i: int) -> dict[str, Any]:
        return {**self.mean.as_json(i), "spread": {name: array[i].tolist() for name, array in self.spread.items()}}


def sampled(
    networks: Sequence[nn.Module],
    count: int,
    seed: int,
    outputs: Callable[[], Mapping[str, Tensor]],
    answers: Callable[[Mapping[str, Tensor], str | None], Answers],
    way: str,
) -> Sampled:
    """Return the answers of `count` draws of each network.

    Arguments:
        outputs: computes those of the networks, (members, n, ...) by the name of the head.
        answers: makes answers of outputs; the second argument says how several are combined.

    Raises:
        DlxError: fewer than two draws, no layer that drops, or one whose rate moves.
    """
    if count < 2:
        raise DlxError(f"a spread wants two draws or more, and `--samples` is {count}", hint="Take 20 or more.")
    with _dropping(networks), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        samples = [outputs() for _ in range(count)]
    mean = answers({name: torch.cat([one[name] for one in samples]) for name in samples[0]}, way)
    if mean.several_rows:
        raise DlxError("`--samples` is for one answer an input, and these have several", hint="Leave it out.")
    each = (answers(one, way if len(networks) > 1 else None) for one in samples)
    return Sampled(mean, tuple(each))


def drops(networks: Sequence[nn.Module]) -> bool:
    """Whether a network has a layer that drops at random."""
    return any(_drops(module) for network in networks for module in network.modules())


def draws(objective: Regression, outputs: Tensor, count: int, seed: int) -> Named:
    """Return the mean of what each output (1, n, ...) describes, and `count` draws (n, count, *target) of it."""
    rng = torch.Generator().manual_seed(seed)
    mean, made = objective.predict(outputs[0]), objective.draws(outputs[0], count, rng)
    return Named({"values": mean.numpy(), "draws": made.numpy()}, frozenset({"draws"}))


@contextmanager
def _dropping(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Let the layers that drop do so within the context; norms and all others stay as in an evaluation."""
    from ..modules.moving import Moving

    found = [module for network in networks for module in network.modules() if _drops(module)]
    if any(isinstance(module, Moving) for module in found):
        message = "`--samples` drops at the rate of the training, and a rate that moves has no one"
        raise DlxError(message, hint="Train with a number in its place.")
    if not found:
        message = "`--samples` asks for layers that drop at random, and the network has none"
        raise DlxError(message, hint="Train it with `dropout`.")
    for module in found:
        module.training = True  # of it alone: `train()` would switch the norms inside it too
    try:
        yield
    finally:
        for module in found:
            module.training = False


def _drops(module: nn.Module) -> bool:
    from ..modules.moving import MovingDropout
    from ..modules.paths import Stochastic

    named = isinstance(module, torch.nn.modules.dropout._DropoutNd | Stochastic | MovingDropout)
    within = getattr(module, "dropout", 0.0)
    return named or (isinstance(within, float) and within > 0)
