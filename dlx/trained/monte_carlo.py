"""Answers of a network several times, with their mean and spread: Monte Carlo dropout and batch norm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import DlxError
from ..lazy import np, torch
from ..utils import option_bounds
from .answer_base import Answers
from .features import Named

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..objectives.regression import Regression
    from .answer_base import Array


@dataclass(frozen=True)
class Sampled(Answers):
    """The mean answer of several draws, and the standard deviation of its numbers over them.

    Source: Gal & Ghahramani 2016, Dropout as a Bayesian Approximation, arXiv:1506.02142, section 4; Teye, Azizpour &
    Smith 2018, Bayesian Uncertainty Estimation for Batch Normalized Deep Networks, arXiv:1802.06455, algorithm 1.
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
    batches: Callable[[torch.Generator], Callable[[], Sequence[Tensor]]],
) -> Sampled:
    """Return the answers of `count` draws of each network: of its dropout, else of the batches of its norms.

    Arguments:
        outputs: computes those of the networks, (members, n, ...) by the name of the head.
        answers: makes answers of outputs; the second argument says how several are combined.
        batches: loads the training part, of which it returns a function that draws the inputs of a batch.

    Raises:
        DlxError: fewer than two draws, no layer that drops and no batch norm, or a layer whose rate moves.
    """
    check_varies(networks)
    if count < 2:
        raise DlxError(f"a spread wants two draws or more, and `--samples` is {count}", hint="Take 20 or more.")
    option_bounds.check("--samples", count, option_bounds.DRAWS)
    option_bounds.check_seed("--seed", seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if drops(networks):
            with _dropping(networks):
                samples = [outputs() for _ in range(count)]
        else:
            samples = _of_batches(networks, count, outputs, batches(torch.Generator().manual_seed(seed)))
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
    if count < 1:
        raise DlxError(f"`--samples` is {count}, and there is at least one draw", hint="Take 1 or more.")
    option_bounds.check("--samples", count, option_bounds.DRAWS)
    option_bounds.check_seed("--seed", seed)
    rng = torch.Generator().manual_seed(seed)
    mean, made = objective.predict(outputs[0]), objective.draws(outputs[0], count, rng)
    return Named({"values": mean.numpy(), "draws": made.numpy()}, frozenset({"draws"}))


def _of_batches(
    networks: Sequence[nn.Module],
    count: int,
    outputs: Callable[[], Mapping[str, Tensor]],
    batch: Callable[[], Sequence[Tensor]],
) -> list[Mapping[str, Tensor]]:
    """Return the outputs of networks whose batch norms have the statistics of one training batch, `count` times."""
    from ..modules.norm import statistics_of

    found = []
    for _ in range(count):
        inputs = batch()
        with ExitStack() as stack:
            for network in networks:
                stack.enter_context(statistics_of(network, *inputs))
            found.append(outputs())
    return found


def check_varies(networks: Sequence[nn.Module]) -> None:
    """Raise DlxError where nothing in the networks differs from one draw to another."""
    from ..modules.norm import is_batch_norm

    if not drops(networks) and not any(is_batch_norm(one) for network in networks for one in network.modules()):
        message = "`--samples` asks for layers that drop at random, or for batch norms, and the network has neither"
        raise DlxError(message, hint="Train it with `dropout`.")


@contextmanager
def _dropping(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Let the layers that drop do so within the context; norms and all others stay as in an evaluation."""
    from ..modules.moving import Moving

    found = [module for network in networks for module in network.modules() if _drops(module)]
    if any(isinstance(module, Moving) for module in found):
        message = "`--samples` drops at the rate of the training, and a rate that moves has no one"
        raise DlxError(message, hint="Train with a number in its place.")
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
