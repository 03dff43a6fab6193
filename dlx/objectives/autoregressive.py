"""Explicit densities of discrete variables: each is predicted from those before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import log, prod
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import pydantic
from pydantic import PositiveInt, PrivateAttr

from ..errors import DlxError, Problem, SpecError
from ..lazy import F, torch
from ..metrics import Mode
from ..shapes import Shape
from ..utils.variable_order import Order, ranks
from .base import Call, Caller, Objective, Phase, Ports

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.base import Field
    from ..data.batch import Batch

NETWORK, LABEL, CLASSES = "network", "label", "target"
COMPLETIONS = 1024
"""Ways to fill in what is missing, up to which the probability of each is computed."""
PROBED = 256
"""Variables that are changed, at most, to see what depends on them."""
TOLERANCE = 1e-5
"""Change of a probability that rounding may be the reason of."""


class Autoregressive(Objective):
    """Tell each variable of an example from those before it: log p(x) = sum over i of log p(x_i | x_1 ... x_(i-1)).

    Values from 0 to 1 are rounded to `levels` steps, with two of them to 0 and 1; the probability is exact. The loss
    is the mean negative log-likelihood in nats an example. `order` is that of the variables, as of `masked_linear`.
    Network: `network`, from an example to as many logits: of 1 with two levels, else one a level on an axis before
    the others. What it gives for a variable may depend on those before it alone, or the training does not start. An
    input `label` gets the class of the example, the field `target`; the probability is then given the class.
    Shapes: inputs (N, *shape), outputs (N, *shape) or (N, levels, *shape).
    Metrics: log_likelihood (nats an example), bits_per_dim. Samples: variable by variable. What is missing in an
    example is drawn given all that is there, from exact probabilities of all ways to fill it in where there are up to
    1,024, else by Gibbs sampling.
    Source: Germain et al. 2015, MADE, arXiv:1502.03509, equations 3 and 4; van den Oord et al. 2016, Pixel recurrent
    neural networks, arXiv:1601.06759, section 2.
    """

    kind: ClassVar[str] = "autoregressive"
    field: str = pydantic.Field("input", description="the input whose values are told")
    levels: Annotated[int, pydantic.Field(ge=2, le=256)] = pydantic.Field(
        2, description="values that a variable can have, evenly spaced from 0 to 1"
    )
    order: Order = pydantic.Field("natural", description="of the variables: as they lie, or drawn from a seed")
    sweeps: PositiveInt = pydantic.Field(50, description="draws of each missing variable in Gibbs sampling")
    _shape: Shape = PrivateAttr(Shape(()))
    _of_class: bool = PrivateAttr(False)
    _classes: int = PrivateAttr(0)

    def needs(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Sequence[Call]:
        network = networks[NETWORK]
        inputs: dict[str, str | Shape] = {name: CLASSES if name == LABEL else self.field for name in network.inputs}
        if len(network.outputs) != 1:
            message = f"autoregressive takes one output, and the network has {len(network.outputs)}"
            raise SpecError(Problem(message, "Keep the one to train: `outputs: NAME`."))
        if self.field in fields:
            self._check_output(next(iter(network.outputs.values())), fields[self.field].shape)
        return [Call(NETWORK, inputs)]

    def _check_output(self, made: Shape, shape: Shape) -> None:
        """Raise SpecError where the output has another shape than the logits of the field."""
        if shape.dtype != "float":
            message = f"autoregressive rounds values from 0 to 1, and `{self.field}` is of dtype {shape.dtype}"
            raise SpecError(Problem(message, "`language` tells tokens."))
        wanted = shape if self.levels == 2 else Shape((self.levels, *shape))
        if tuple(made) != tuple(wanted):
            of = "one logit" if self.levels == 2 else f"{self.levels} logits"
            message = f"the network ends in {made}, and autoregressive takes {wanted}, {of} for each value of {shape}"
            raise SpecError(Problem(message, f"Let it end in {wanted}; `reshape` brings values to other axes."))

    def informed(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Self:
        copy = self.model_copy()
        copy._shape, copy._of_class = fields[self.field].shape, LABEL in networks[NETWORK].inputs
        copy._classes = (fields[CLASSES].classes or 0) if copy._of_class else 0
        return copy

    @property
    def condition(self) -> str | None:
        return CLASSES if self._of_class else None

    def phases(self) -> Sequence[Phase]:
        return [Phase("train", (NETWORK,), (self.field,))]

    # ---- probabilities ---------------------------------------------------------------------------------------------

    def rounded(self, x: Tensor) -> Tensor:
        """Return values from 0 to 1 as the nearest of the levels."""
        return (x * (self.levels - 1)).round() / (self.levels - 1)

    def logits(self, call: Caller, x: Tensor, label: Tensor | None) -> Tensor:
        """Return what the network gives for rounded examples (N, *shape) and their classes (N,)."""
        logits: Tensor = call(NETWORK, x) if label is None else call(NETWORK, x, **{LABEL: label})
        return logits

    def log_likelihood(self, call: Caller, x: Tensor, label: Tensor | None = None) -> Tensor:
        """Return log p (N,) in nats of rounded examples (N, *shape)."""
        logits = self.logits(call, x, label)
        x = x.to(logits.device)
        if self.levels == 2:
            each = -F.binary_cross_entropy_with_logits(logits, x, reduction="none")
        else:
            each = -F.cross_entropy(logits, (x * (self.levels - 1)).round().long(), reduction="none")
        return each.flatten(1).sum(1)

    def probabilities(self, call: Caller, x: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the probability of each level of each variable given those before it: (N, D, levels)."""
        logits = self.logits(call, x, label)
        if self.levels == 2:
            one = logits.flatten(1).sigmoid()
            return torch.stack((1 - one, one), -1)
        return logits.flatten(2).softmax(1).movedim(1, 2)

    def of_batch(self, call: Caller, batch: Batch) -> Tensor:
        """Return the mean of log p over the examples of a batch, a scalar."""
        label = batch[CLASSES] if self._of_class else None
        return self.log_likelihood(call, self.rounded(batch[self.field]), label).mean()

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        return {"nll": -self.of_batch(call, batch)}

    def evaluate(
        self, call: Caller, batch: Batch, rng: torch.Generator
    ) -> Mapping[str, Tensor | tuple[Tensor, Tensor]]:
        return {"log_likelihood": self.of_batch(call, batch)}

    def measured(self, means: dict[str, float]) -> dict[str, float]:
        found = means["log_likelihood"]
        return {**means, "bits_per_dim": -found / (prod(self._shape) * log(2))}

    def modes(self) -> dict[str, Mode]:
        return {"log_likelihood": "max", "bits_per_dim": "min"}

    # ---- samples ---------------------------------------------------------------------------------------------------

    def sample(self, call: Caller, n: int, rng: torch.Generator, condition: Tensor | None = None) -> Tensor:
        """Return `n` examples (n, *shape), variable by variable; of drawn classes where none are known."""
        if self._of_class and condition is None:
            condition = torch.randint(self._classes, (n,), generator=rng)
        return self._ancestral(call, torch.full((n, *self._shape), torch.nan), condition, rng)

    def _ancestral(self, call: Caller, known: Tensor, label: Tensor | None, rng: torch.Generator) -> Tensor:
        """Return examples whose missing values are drawn in their order, each given those before it alone."""
        missing, x = known.flatten(1).isnan(), self.rounded(known.nan_to_num())
        place = ranks(self.order, prod(self._shape))
        for variable in sorted(range(len(place)), key=place.__getitem__):
            if missing[:, variable].any():
                p = self.probabilities(call, x, label)[:, variable].cpu()
                self._set(x, variable, torch.multinomial(p, 1, generator=rng)[:, 0], missing)
        return x

    def _set(self, x: Tensor, variable: int, levels: Tensor, missing: Tensor) -> None:
        """Set a variable of the examples in which it is missing."""
        flat = x.flatten(1)
        flat[:, variable] = torch.where(missing[:, variable], self._values(levels), flat[:, variable])

    def _values(self, levels: Tensor) -> Tensor:
        return levels.float() / (self.levels - 1)

    def complete(self, call: Caller, known: Tensor, rng: torch.Generator, condition: Tensor | None = None) -> Tensor:
        """Return examples (n, *shape) whose missing values, NaN, are drawn given all that is there."""
        odd = (known < 0) | (known > 1)
        if odd.any():
            row, *_ = odd.nonzero()[0].tolist()
            message = f"example {row + 1} of what is given has the value {float(known[odd][0]):g}"
            raise DlxError(f"{message}, and autoregressive has values from 0 to 1", hint="Rescale them.")
        x, counts = known.clone(), known.flatten(1).isnan().sum(1)
        many = self.levels ** counts.double() > COMPLETIONS
        if many.any():
            x[many] = self._by_gibbs(call, known[many], None if condition is None else condition[many], rng)
        for row in (~many).nonzero().flatten().tolist():
            x[row] = self._exactly(call, known[row], None if condition is None else condition[row], rng)
        return self.rounded(x)

    def _exactly(self, call: Caller, known: Tensor, label: Tensor | None, rng: torch.Generator) -> Tensor:
        """Draw among all ways to fill in one example (*shape), by their probabilities."""
        missing = known.flatten().isnan().nonzero().flatten()
        combinations = torch.tensor(list(product(range(self.levels), repeat=len(missing))))
        x = self.rounded(known.nan_to_num()).repeat(len(combinations), *[1] * known.dim())
        x.flatten(1)[:, missing] = self._values(combinations)
        p = self.log_likelihood(call, x, None if label is None else label.expand(len(x))).double().softmax(0).cpu()
        return x[torch.multinomial(p, 1, generator=rng)[0]]

    def _by_gibbs(self, call: Caller, known: Tensor, label: Tensor | None, rng: torch.Generator) -> Tensor:
        """Draw each missing variable given all others, in turn; begins with each given those before it alone."""
        missing, x = known.flatten(1).isnan(), self._ancestral(call, known, label, rng)
        labels = None if label is None else label.repeat(self.levels)
        for _ in range(self.sweeps):
            for variable in missing.any(0).nonzero().flatten().tolist():
                each = x.repeat(self.levels, *[1] * len(self._shape))
                each.flatten(1)[:, variable] = self._values(torch.arange(self.levels)).repeat_interleave(len(x))
                p = self.log_likelihood(call, each, labels).double().view(self.levels, -1).softmax(0).T.cpu()
                self._set(x, variable, torch.multinomial(p, 1, generator=rng)[:, 0], missing)
        return x

    # ---- whether it is autoregressive ------------------------------------------------------------------------------

    def takes_logits(self) -> Mapping[str, str]:
        return {NETWORK: ""}

    def check_values(self, batch: Batch) -> Problem | None:
        x = batch[self.field]
        low, high = float(x.min()), float(x.max())
        if not (low < 0 or high > 1):
            return None
        message = f"autoregressive rounds values from 0 to 1, and `{self.field}` has {low:g} to {high:g}"
        return Problem(message, "Leave out what rescales them, or rescale them to 0 and 1.")

    def check_networks(self, call: Caller, batch: Batch) -> Problem | None:
        x = batch[self.field]
        return self._seen_ahead(call, self.rounded(x[:1]), batch[CLASSES][:1] if self._of_class else None)

    def _seen_ahead(self, call: Caller, x: Tensor, label: Tensor | None) -> Problem | None:
        """Return the problem of an output that depends on its own variable or a later one; x (1, *shape)."""
        place, count = torch.tensor(ranks(self.order, prod(self._shape))), prod(self._shape)
        changed = torch.linspace(0, count - 1, min(count, PROBED)).round().long()
        others = x.repeat(len(changed), *[1] * len(self._shape))
        flat = others.flatten(1)
        flat[range(len(changed)), changed] = (flat[range(len(changed)), changed] < 0.5).to(flat)
        labels = None if label is None else label.expand(len(others))
        apart = (self.probabilities(call, others, labels) - self.probabilities(call, x, label)).abs().amax(-1).cpu()
        wrong = (apart > TOLERANCE) & (place <= place[changed].unsqueeze(1))
        if not wrong.any():
            return None
        row, seen = wrong.nonzero()[0].tolist()
        message = f"the network is not autoregressive: another value of variable {int(changed[row])} changes what it "
        message += f"gives for variable {seen}, which is {'the same' if seen == changed[row] else 'before it'}"
        message += f" in `order: {self.order}`; variables count from 0"
        hint = "Take `masked_linear` with this `order`, or `masked_conv`, the first of which has `mask: A`."
        return Problem(message, hint)
