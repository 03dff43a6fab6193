"""One repetition of a phase before its optimizers: the terms of a batch, and their gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import DlxError, RunError, first_line
from ..lazy import torch
from ..objectives import Phase

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.batch import Batch
    from .phased import Phased


class PhaseGradients:
    """Function from a batch to the terms of a phase, scalars in the order of `names`.

    It leaves their gradients, clipped, in `grad` of `weights`, those that the phase moves.
    """

    def __init__(self, learner: Phased, phase: Phase, weights: list[Tensor]) -> None:
        self.learner, self.phase, self.weights = learner, phase, weights
        self.limit = learner.gradient_limits(weights)
        size = learner.train.batch_size
        self.piece = size if phase.reads and learner.train.accumulate > 1 and size != "all" else None
        """Examples of a piece, where a batch is taken in pieces."""
        prefix = f"train/{phase.name}/"
        self.names: tuple[str, ...] = tuple(
            name.removeprefix(prefix) for name in learner.losses if name.startswith(prefix)
        )
        """Names of the terms; empty before the first step."""

    @property
    def losses(self) -> tuple[str, ...]:
        """Names of the terms as points of the curve have them."""
        return tuple(f"train/{self.phase.name}/{name}" for name in self.names)

    def __call__(self, batch: Batch) -> list[Tensor]:
        for weight in self.weights:
            weight.grad = None
        pieces = [batch] if self.piece is None else batch.pieces(self.piece)
        found = self._backward(batch, 1) if len(pieces) == 1 else self._by_pieces(batch, pieces)
        self.limit()
        return found

    def _by_pieces(self, batch: Batch, pieces: list[Batch]) -> list[Tensor]:
        """Accumulate gradients; each term is the sum over the pieces, by their shares of the examples."""
        found: list[Tensor] = []
        for piece in pieces:
            values = self._backward(piece, len(piece) / len(batch))
            found = [one + other for one, other in zip(found, values, strict=True)] if found else values
        for name in pieces[0].carried:
            batch.carry(name, torch.cat([piece.carried[name] for piece in pieces]))
        return found

    def _backward(self, batch: Batch, share: float) -> list[Tensor]:
        auxiliary = self.learner.auxiliary
        auxiliary.clear()
        values = self._ordered(self._terms(batch))
        if share != 1:
            values = [value * share for value in values]
        loss = sum(values[1:], values[0])
        if auxiliary:
            loss = loss + auxiliary.total() * share
        # `inputs` keeps gradients out of networks that this phase calls but does not update
        torch.autograd.backward(loss, inputs=self.weights)
        return [value.detach() for value in values]

    def _terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return the objective's terms. RunError where its code fails, as on shapes that `needs` did not ask for."""
        learner = self.learner
        try:
            return learner.objective.terms(self.phase.name, learner.call, batch, learner.rng)
        except Exception as error:
            # `compute.settings` words torch's complaint about an operation without a deterministic form
            if isinstance(error, DlxError) or learner.train.deterministic:
                raise
            kind, at = learner.objective.kind, learner.progress.step + 1
            why = f"{type(error).__name__}: {first_line(error)}"
            raise RunError(f"`{kind}` fails in its phase `{self.phase.name}` at step {at:,}: {why}") from error

    def _ordered(self, terms: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the terms in the order of the first step. TypeError where they are others."""
        found = tuple(terms)
        if found != self.names:
            self.names = self.names or found
            if set(found) != set(self.names):
                kind, phase = self.learner.objective.kind, self.phase.name
                raise TypeError(f"{kind} gave {list(found)} in its phase {phase}, and at first {list(self.names)}")
        return [terms[name] for name in self.names]
