"""Negative log-likelihoods of distributions whose parameters are the outputs.

Several parameters are concatenated on the first axis of an output.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ..lazy import F, torch
from ..shapes import Shape
from .base import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Function

LOG_2PI = math.log(2 * math.pi)
ADDED = "added to each variance exp(s), which stays above it"


class _Likelihood(Loss):
    wants: ClassVar[Literal["classes", "values"]] = "values"


class Poisson(_Likelihood):
    """exp(output) - target * output: Poisson counts with log-rate `output`. log(target!) is left out.

    Shapes: outputs and targets (N, *target), targets whole numbers from 0. torch: poisson_nll_loss.
    """

    kind: ClassVar[str] = "poisson"
    target_range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    full: bool = Field(False, description="add Stirling's formula for log(target!)")

    def function(self) -> Function:
        return self.from_torch(F.poisson_nll_loss, full=self.full)

    def predict(self, output: Tensor) -> Tensor:
        return output.exp()

    def averaged(self, outputs: Tensor) -> Tensor:
        return torch.logsumexp(outputs, 0) - math.log(len(outputs))


class Gaussian(_Likelihood):
    """(log v + (target - m)^2 / v) / 2: a predicted mean and variance for each value of the target.

    The first half of an output is m, the second s, and v = exp(s) + eps: never zero, however sure the network is.
    Shapes: outputs (2 C, *size), targets (C, *size), N of each. torch: gaussian_nll_loss, which takes v, adds
    nothing to it, and raises what is below eps. Source: Nix & Weigend 1994.
    """

    kind: ClassVar[str] = "gaussian_nll"
    full: bool = Field(False, description="add the constant log(2 pi) / 2")
    eps: PositiveFloat = Field(1e-6, description=ADDED)

    def outputs(self, target: Shape) -> Shape:
        return Shape((2 * target[0], *target[1:]))

    def function(self) -> Function:
        floor, constant = math.log(self.eps), LOG_2PI if self.full else 0.0

        def loss(output: Tensor, target: Tensor) -> Tensor:
            mean, s = output.chunk(2, 1)
            # log(exp(s) + eps), without the overflow of exp
            log_variance = torch.logaddexp(s, s.new_full((), floor))
            return self.reduced((log_variance + (target - mean).square() * torch.exp(-log_variance) + constant) / 2)

        return loss

    def predict(self, output: Tensor) -> Tensor:
        return output.chunk(2, 1)[0]

    def sample(self, output: Tensor, n: int, rng: torch.Generator) -> Tensor:
        mean, s = output.chunk(2, 1)
        std = (torch.logaddexp(s, s.new_full((), math.log(self.eps))) / 2).exp()
        noise = torch.randn((len(mean), n, *mean.shape[1:]), generator=rng)
        return mean.unsqueeze(1) + std.unsqueeze(1) * noise

    def averaged(self, outputs: Tensor) -> Tensor:
        """Return mean and variance of the mixture of the members.

        Source: Lakshminarayanan et al. 2017, arXiv:1612.01474, section 2.4.
        """
        mean, s = outputs.chunk(2, 2)
        within = torch.logsumexp(s, 0) - math.log(len(outputs))
        between = mean.var(0, correction=0).log()
        return torch.cat([mean.mean(0), torch.logaddexp(within, between)], 1)


class VonMises(_Likelihood):
    """log(2 pi I0(kappa)) - kappa cos(target - m): angles in radians, around a mean direction m.

    With `kappa` as a number the output is m; with kappa: predicted its second half is s, and kappa = softplus(s).
    The gap to a target is the shorter way round. Shapes: outputs (C, *size), or (2 C, *size), and targets
    (C, *size), N of each. Source: Prince 2023, Understanding Deep Learning, chapter 5.
    """

    kind: ClassVar[str] = "von_mises"
    kappa: PositiveFloat | Literal["predicted"] = Field(1.0, description="concentration; about 1/variance if large")

    def outputs(self, target: Shape) -> Shape:
        return Shape((2 * target[0], *target[1:])) if self.kappa == "predicted" else target

    def function(self) -> Function:
        def loss(output: Tensor, target: Tensor) -> Tensor:
            if self.kappa == "predicted":
                mean, s = output.chunk(2, 1)
                kappa = F.softplus(s)
            else:
                mean, kappa = output, output.new_full((), self.kappa)
            # I0 overflows where exp does: i0e is I0 exp(-kappa)
            spread = LOG_2PI + torch.log(torch.special.i0e(kappa))
            return self.reduced(spread + kappa * (1 - torch.cos(target - mean)))

        return loss

    def predict(self, output: Tensor) -> Tensor:
        return output.chunk(2, 1)[0] if self.kappa == "predicted" else output

    def averaged(self, outputs: Tensor) -> Tensor:
        """Return the geometric mean of the members' densities: the direction of their mean vector, each of
        length kappa.
        """
        mean, *s = outputs.chunk(2, 2) if self.kappa == "predicted" else (outputs,)
        kappa = F.softplus(s[0]) if s else torch.ones_like(mean)
        north, east = (kappa * mean.cos()).mean(0), (kappa * mean.sin()).mean(0)
        if not s:
            return torch.atan2(east, north)
        length = torch.hypot(north, east).clamp_min(1e-6)
        return torch.cat([torch.atan2(east, north), length + torch.log(-torch.expm1(-length))], 1)

    def residual(self, output: Tensor, target: Tensor) -> Tensor:
        turn = self.predict(output) - target
        return torch.atan2(turn.sin(), turn.cos())


class MixtureDensity(_Likelihood):
    """-log sum_k w_k N(target; m_k, v_k): a mixture of Gaussians, for multimodal targets.

    An output has K logits of the weights w, then K means of D values, then s: one a component, or with `diagonal`
    one a value. A variance is exp(s) + eps. A mean is over examples and positions.
    Shapes: outputs (K (2 + D), *size), diagonal (K (1 + 2 D), *size), targets (D, *size), N of each.
    Source: Bishop 1994, Mixture density networks; Russell & Norvig, section 22.2.2.
    """

    kind: ClassVar[str] = "mixture_density"
    averageable: ClassVar[bool] = False
    components: PositiveInt = Field(5, description="Gaussians in the mixture")
    diagonal: bool = Field(False, description="a variance for each value instead of one a component")
    eps: PositiveFloat = Field(1e-6, description=ADDED)

    @classmethod
    def first_field(cls) -> str:
        return "components"

    def outputs(self, target: Shape) -> Shape:
        each = 1 + 2 * target[0] if self.diagonal else 2 + target[0]
        return Shape((self.components * each, *target[1:]))

    def parts(self, output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-weights (N, K, *size), means and log-variances (N, K, D or 1, *size)."""
        k, (n, channels, *size) = self.components, output.shape
        values = (channels // k - 1) // 2 if self.diagonal else channels // k - 2
        logits, means, s = torch.split(output, [k, k * values, channels - k - k * values], 1)
        log_variance = torch.logaddexp(s, s.new_full((), math.log(self.eps)))
        return logits.log_softmax(1), means.reshape(n, k, values, *size), log_variance.reshape(n, k, -1, *size)

    def function(self) -> Function:
        def loss(output: Tensor, target: Tensor) -> Tensor:
            log_weight, mean, log_variance = self.parts(output)
            residual = target.unsqueeze(1) - mean
            each = -(LOG_2PI + log_variance + residual.square() * torch.exp(-log_variance)) / 2
            return self.reduced(-torch.logsumexp(log_weight + each.sum(2), 1))

        return loss

    def predict(self, output: Tensor) -> Tensor:
        log_weight, mean, _ = self.parts(output)
        return (log_weight.exp().unsqueeze(2) * mean).sum(1)

    def sample(self, output: Tensor, n: int, rng: torch.Generator) -> Tensor:
        log_weight, mean, log_variance = self.parts(output)
        # the component of each draw by Gumbel's trick: (N, n, K, *size)
        uniform = torch.rand((len(output), n, *log_weight.shape[1:]), generator=rng).clamp_min(1e-20)
        chosen = (log_weight.unsqueeze(1) - (-uniform.log()).log()).argmax(2)
        index = chosen.unsqueeze(2).expand(-1, -1, mean.shape[2], *mean.shape[3:])

        def of_chosen(each: Tensor) -> Tensor:
            return each.expand_as(mean).gather(1, index)

        noise = torch.randn(index.shape, generator=rng)
        return of_chosen(mean) + (of_chosen(log_variance) / 2).exp() * noise
