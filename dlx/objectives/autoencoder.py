"""Autoencoders: networks that give their input back through a code; plain, denoising, sparse and contractive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import pydantic
from pydantic import NonNegativeFloat, PrivateAttr, field_validator, model_validator

from ..errors import Problem, RunError, SpecError
from ..lazy import torch
from ..losses import LOSSES, Loss
from ..metrics import Mode
from ..registry import Choice, Strict
from ..schedules.values import Weight, may_count
from .base import Call, Caller, Objective, Phase, Ports, Sheet
from .latent import (
    COLUMNS,
    DECODER,
    ENCODER,
    LABEL,
    field_of,
    inputs_of,
    interpolations,
    labelled,
    map_of,
    shape_problem,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.base import Field
    from ..data.batch import Batch
    from ..shapes import Shape

NETWORK, CODE, RECONSTRUCTION = "network", "code", "reconstruction"
Share = Annotated[float, pydantic.Field(ge=0, le=1)]


class Corruption(Strict):
    """How the input of the encoder differs from what it is to give back. Vincent et al. 2010, section 3.3."""

    gaussian: NonNegativeFloat = pydantic.Field(0.0, description="standard deviation of normal noise that is added")
    masking: Share = pydantic.Field(0.0, description="probability that a value becomes 0")
    salt_and_pepper: Share = pydantic.Field(0.0, description="probability that a value becomes 0 or 1, as often")

    def applied(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Return a corrupted copy of x (N, *shape); `rng` is on the CPU."""
        if self.gaussian:
            x = x + self.gaussian * torch.randn(x.shape, generator=rng).to(x)
        if self.masking:
            x = x * (torch.rand(x.shape, generator=rng) >= self.masking).to(x)
        if self.salt_and_pepper:
            uniform = torch.rand(x.shape, generator=rng).to(x)
            salt = (uniform < self.salt_and_pepper / 2).to(x)
            x = torch.where(uniform < self.salt_and_pepper, salt, x)
        return x


class Sparsity(Strict):
    """A penalty on the code, so that few of its units are active for an example."""

    l1: Weight = pydantic.Field(
        0.0, description="adds l1 * sum |code|, a mean over the examples; it may be scheduled"
    )
    kl: Weight = pydantic.Field(
        0.0,
        description="adds kl * sum over units of KL(rho || mean activation of the unit in the batch); "
        "it may be scheduled",
    )
    rho: Annotated[float, pydantic.Field(gt=0, lt=1)] = pydantic.Field(
        0.05, description="mean activation that KL asks of each unit, whose values must lie in 0 to 1"
    )

    @model_validator(mode="after")
    def _rho_of_kl(self) -> Self:
        if "rho" in self.model_fields_set and "kl" not in self.model_fields_set:
            raise ValueError("`rho` is what `kl` draws activations to, and there is no `kl`, its weight")
        return self

    def terms(self, code: Tensor) -> dict[str, Tensor]:
        """Return the penalties of codes (N, *code) that have a weight, scalars."""
        found, flat = {}, code.flatten(1)
        if may_count(self.l1):
            found["l1"] = self.l1 * flat.abs().sum(1).mean()
        if may_count(self.kl):
            found["kl"] = self.kl * self.divergence(flat.mean(0)).sum()
        return found

    def divergence(self, mean: Tensor) -> Tensor:
        """Return KL(rho || mean) of Bernoulli variables for each mean activation, of its shape."""
        rho, mean = self.rho, mean.clamp(1e-7, 1 - 1e-7)
        return rho * (rho / mean).log() + (1 - rho) * ((1 - rho) / (1 - mean)).log()


class Autoencoder(Objective):
    """Give the input back through a code: small, or kept simple by noise or a penalty.

    loss = `loss`(reconstruction, x) + penalties. With `noise` the encoder sees a corrupted x, and is to give the
    clean one back (denoising). `sparsity` penalises the code (sparse). `contractive` adds that weight times the mean
    over examples of the squared Frobenius norm of d code / d x, by a second derivative. A linear one whose decoder is
    tied to its encoder (`tie`) spans the principal components of centred data. Noise is drawn anew in each step, by a
    generator of the objective that is saved with it, and is always the same in evaluations.
    Networks: `network`, from x to an output of its shape; or `encoder` from x to a code and `decoder` from it to x.
    Sparsity and contraction of one `network` take outputs called `code` and `reconstruction`. A second input called
    `label` gets the class of the example. Data: a field of floats (`field`); no target is read.
    Shapes: x (N, *shape), reconstruction as `loss` takes it for targets *shape, code (N, *any).
    Metrics: loss (without penalties), mse (mean squared error over all values); with `noise` corrupted_mse, that of
    the corrupted input itself; with `sparsity` active (share of the values of codes beyond 0.01) and activation (mean
    of their sizes); with `contractive` jacobian, the mean squared Frobenius norm.
    Source: Russell & Norvig 2020, Artificial Intelligence, section 22.7.1 (linear, deep); Vincent et al. 2008,
    Extracting and Composing Robust Features with Denoising Autoencoders, section 2.3; Ng 2011, CS294A lecture notes,
    Sparse autoencoder, section 3 (KL); Rifai et al. 2011, Contractive Auto-Encoders, equation 7.
    """

    kind: ClassVar[str] = "autoencoder"
    loss: Annotated[Loss, Choice(LOSSES)] = pydantic.Field(
        default_factory=LOSSES.new("squared_error"), description="between reconstruction and input"
    )
    noise: Corruption | None = pydantic.Field(None, description="on what the encoder sees; null: none")
    sparsity: Sparsity | None = pydantic.Field(None, description="penalty on the code; null: none")
    contractive: Weight | None = pydantic.Field(
        None, description="weight of the squared norm of d code / d x; 0 measures it alone; it may be scheduled"
    )
    field: str = pydantic.Field("input", description="the field of the data that is given back")
    _networks: tuple[str, ...] = PrivateAttr((NETWORK,))
    _labelled: frozenset[str] = PrivateAttr(frozenset())
    """Networks that take the class."""

    @field_validator("loss", check_fields=False)
    @classmethod
    def _of_values(cls, loss: Loss) -> Loss:
        if loss.wants != "values" or loss.balances:
            raise ValueError(f"the loss {loss.kind} is not for values, which an autoencoder gives back")
        return loss

    def takes_logits(self) -> Mapping[str, str]:
        return {self._networks[-1]: RECONSTRUCTION} if self.loss.logits else {}

    def check_values(self, batch: Batch) -> Problem | None:
        complaint = self.loss.check_values(batch[self.field])
        return Problem(f"the loss {complaint}", "Rescale the values, or use another loss.") if complaint else None

    # --- networks ---------------------------------------------------------------------------------------------------

    def of_networks(self, names: Sequence[str]) -> Self:
        copy = self.model_copy()
        copy._networks = (ENCODER, DECODER) if {ENCODER, DECODER} & set(names) else (NETWORK,)
        return copy

    def informed(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Self:
        copy = self.model_copy()
        copy._labelled = labelled(networks)
        return copy

    @property
    def penalises_code(self) -> bool:
        """Whether the code is read, and not its reconstruction alone."""
        return self.sparsity is not None or self.contractive is not None

    def phases(self) -> Sequence[Phase]:
        return (Phase("train", self._networks, (self.field,)),)

    def needs(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Sequence[Call]:
        field, one = field_of(self.kind, self.field, fields), networks[self._networks[0]]
        if self._networks == (NETWORK,):
            self._check_output(NETWORK, self._reconstruction(one), field.shape)
            return (Call(NETWORK, inputs_of(self.kind, NETWORK, one, self.field, fields)),)
        decoder = networks[DECODER]
        for name, ports in ((ENCODER, one), (DECODER, decoder)):
            if len(ports.outputs) != 1:
                listed = ", ".join(f"`{output}`" for output in ports.outputs)
                raise SpecError(Problem(f"{self.kind} takes one output of `{name}`, and it has {listed}"))
        (code,), (last,) = one.outputs.values(), decoder.outputs.values()
        self._check_output(DECODER, ("", last), field.shape)
        return (
            Call(ENCODER, inputs_of(self.kind, ENCODER, one, self.field, fields)),
            Call(DECODER, inputs_of(self.kind, DECODER, decoder, code, fields)),
        )

    def _reconstruction(self, network: Ports) -> tuple[str, Shape]:
        """Return the name and shape of what one network gives back; the name is empty for a single output."""
        names = set(network.outputs)
        if names == {CODE, RECONSTRUCTION}:
            return RECONSTRUCTION, network.outputs[RECONSTRUCTION]
        if len(names) > 1 or self.penalises_code:
            why = "penalises the code, and takes" if self.penalises_code else "takes one output, or"
            listed = ", ".join(f"`{name}`" for name in network.outputs)
            message = f"{self.kind} {why} the outputs `{CODE}` and `{RECONSTRUCTION}`, and the network has {listed}"
            hint = (
                f"Write `outputs: {{{CODE}: NODE, {RECONSTRUCTION}: NODE}}`, or networks `{ENCODER}` and `{DECODER}`."
            )
            raise SpecError(Problem(message, hint))
        return "", next(iter(network.outputs.values()))

    def _check_output(self, name: str, output: tuple[str, Shape], field: Shape) -> None:
        wanted = self.loss.outputs(field)
        if tuple(output[1]) != tuple(wanted):
            what = f"the shape of the field `{self.field}`"
            raise shape_problem(self.kind, name, output[0], output[1], what, wanted)

    # --- a step -----------------------------------------------------------------------------------------------------

    def _encoded(self, call: Caller, x: Tensor, batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        """Return code and reconstruction of x; of two networks the code alone, of one output the other alone."""
        if self._networks != (NETWORK,):
            return call(ENCODER, x, **self._label(batch, ENCODER)), None
        found = call(NETWORK, x, **self._label(batch, NETWORK))
        return (found[CODE], found[RECONSTRUCTION]) if isinstance(found, Mapping) else (None, found)

    def _label(self, batch: Batch, network: str) -> dict[str, Tensor]:
        return {LABEL: batch["target"]} if network in self._labelled else {}

    def _through(self, call: Caller, x: Tensor, batch: Batch) -> tuple[Tensor | None, Tensor]:
        """Return code and reconstruction of x."""
        code, reconstruction = self._encoded(call, x, batch)
        if reconstruction is None:
            assert code is not None
            reconstruction = call(DECODER, code, **self._label(batch, DECODER))
        return code, reconstruction

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        x = batch[self.field]
        seen = x if self.noise is None else self.noise.applied(x, rng)
        contracts = 0.0 if self.contractive is None else self.contractive
        if may_count(contracts):
            seen = seen.detach().requires_grad_()
        code, reconstruction = self._through(call, seen, batch)
        found = {RECONSTRUCTION: self.loss.function()(reconstruction, x)}
        if code is not None and self.sparsity is not None:
            found |= self.sparsity.terms(code)
        if code is not None and may_count(contracts):
            found["contraction"] = contracts * squared_jacobian(code, seen, create_graph=True).mean()
        return found

    def pictures(self, call: Caller, batch: Batch, n: int, rng: torch.Generator) -> Mapping[str, Tensor | Sheet]:
        """Return reconstructions below what they are of, and what the encoder saw of it; with networks `encoder` and
        `decoder` lines between codes; and a map of codes of two values.
        """
        x = batch[self.field]
        seen = x if self.noise is None else self.noise.applied(x, rng)
        code, output = self._through(call, seen, batch)
        back = self.loss.predict(output)
        above = [x] if self.noise is None else [x, seen]
        found: dict[str, Tensor | Sheet] = {"reconstructions": torch.stack([one[:COLUMNS] for one in (*above, back)])}
        if code is None:
            return found
        if self._networks != (NETWORK,):
            classes = batch["target"] if DECODER in self._labelled else None

            def decode(z: Tensor, of: Tensor | None) -> Tensor:
                label = {} if of is None else {LABEL: of}
                return self.loss.predict(call(DECODER, z, **label))

            found |= interpolations(code, decode, classes)
        return found | map_of(code, batch)

    def latents_of(self, call: Caller, batch: Batch) -> Tensor | None:
        code, _ = self._encoded(call, batch[self.field], batch)
        return code

    # --- evaluation -------------------------------------------------------------------------------------------------

    def evaluate(self, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        x = batch[self.field]
        seen = x if self.noise is None else self.noise.applied(x, rng)
        code, reconstruction = self._through(call, seen, batch)
        loss = self.loss.function()(reconstruction, x)
        found = {
            "loss": loss / len(x) if self.loss.reduction == "sum" else loss,
            "mse": (self.loss.predict(reconstruction) - x).square().mean(),
        }
        if self.noise is not None:
            found["corrupted_mse"] = (seen - x).square().mean()
        if code is not None and self.sparsity is not None:
            self._check_activations(code)
            found["active"] = (code.abs() > 0.01).float().mean()
            found["activation"] = code.abs().mean()
        if self.contractive is not None:
            found["jacobian"] = self._jacobian(call, seen, batch)
        return found

    def _check_activations(self, code: Tensor) -> None:
        assert self.sparsity is not None
        if may_count(self.sparsity.kl) and (float(code.min()) < 0 or float(code.max()) > 1):
            message = (
                f"`sparsity: {{kl: ...}}` is of a code from 0 to 1, and this goes from {float(code.min()):.3g} to"
            )
            raise RunError(f"{message} {float(code.max()):.3g}", hint="End the encoder in `sigmoid`.")

    def _jacobian(self, call: Caller, x: Tensor, batch: Batch) -> Tensor:
        """Return the mean squared Frobenius norm of d code / d x."""
        with torch.inference_mode(False), torch.enable_grad():
            seen = x.clone().requires_grad_()
            code, _ = self._encoded(call, seen, batch)
            assert code is not None
            return squared_jacobian(code, seen).mean()

    def answers(self, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        """Return the mean squared error of each input as its `score`; its code, where named; its reconstruction."""
        x = batch[self.field]
        code, output = self._through(call, x, batch)
        back = self.loss.predict(output)
        found = {"score": (back - x).flatten(1).square().mean(1)}
        return found | ({} if code is None else {CODE: code}) | {RECONSTRUCTION: back}

    def modes(self) -> dict[str, Mode]:
        found: dict[str, Mode] = {"loss": "min", "mse": "min"}
        if self.noise is not None:
            found["corrupted_mse"] = "min"
        if self.sparsity is not None:
            found |= {"active": "min", "activation": "min"}
        if self.contractive is not None:
            found["jacobian"] = "min"
        return found


def squared_jacobian(output: Tensor, x: Tensor, create_graph: bool = False) -> Tensor:
    """Return the squared Frobenius norm of d output / d x for each example, (N,).

    Each example of `output` (N, *any) must depend on its own x (N, *shape) alone. `create_graph` keeps what a second
    derivative takes.
    """
    flat = output.flatten(1)
    total = torch.zeros(len(x), device=x.device, dtype=x.dtype)
    for j in range(flat.shape[1]):
        (row,) = torch.autograd.grad(flat[:, j].sum(), x, create_graph=create_graph, retain_graph=True)
        total = total + row.flatten(1).square().sum(1)
    return total
