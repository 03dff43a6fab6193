"""Masked language models: tokens that are hidden, predicted from all others around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import pydantic
from pydantic import PrivateAttr, model_validator

from ..errors import Problem, SpecError
from ..lazy import F, torch
from ..metrics import Mode
from ..shapes import Shape
from ..text import MASK, MASK_NAME
from .base import Call, Caller, Objective, Phase, Ports
from .language import exponential

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.base import Field
    from ..data.batch import Batch

NETWORK = "network"
Share = Annotated[float, pydantic.Field(ge=0, le=1)]


class MaskedLanguage(Objective):
    """Tell tokens that are hidden from those before and behind them; special tokens are never among them.

    Of each batch tokens are chosen, each with the probability `share`. A chosen one becomes `<mask>` with the
    probability `masked`, a token drawn from the vocabulary with `random`, and stays as it is otherwise. The loss is
    the mean cross entropy of the chosen tokens alone. In training they are drawn anew in each step, by a generator of
    the objective that is saved with it; in evaluations they are always the same.
    Data: `text` with `mask: true`. Network: `network`, from tokens (window,) to one logit a token of the vocabulary
    at each position, (window, vocabulary); it may look in both directions. Metrics, of the chosen tokens: loss,
    perplexity (e to the power of the loss) and accuracy.
    Source: Devlin et al. 2018, BERT, arXiv:1810.04805, section 3.1 and appendix A.1 (15 %, of which 80, 10 and 10 %).
    """

    kind: ClassVar[str] = "masked_language"
    share: Annotated[float, pydantic.Field(gt=0, le=1)] = pydantic.Field(
        0.15, description="probability that a token is chosen"
    )
    masked: Share = pydantic.Field(0.8, description="probability that a chosen token becomes `<mask>`")
    random: Share = pydantic.Field(0.1, description="probability that a chosen token becomes one that is drawn")
    field: str = pydantic.Field("text", description="the input whose tokens are hidden")
    _vocabulary: int = PrivateAttr(0)

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        if self.masked + self.random > 1 + 1e-9:
            total = self.masked + self.random
            raise ValueError(f"`masked` {self.masked:g} and `random` {self.random:g} add up to {total:g}: at most 1")
        return self

    def needs(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Sequence[Call]:
        text = fields[self.field].text if self.field in fields else None
        if text is None or text.names[MASK : MASK + 1] != (MASK_NAME,):
            message = (
                f"masked_language hides tokens of `{self.field}`, and the data has no `{MASK_NAME}` to put there"
            )
            raise SpecError(Problem(message, "Write `mask: true` in `data: {text: ...}`."))
        (network,) = networks.values()
        inputs: dict[str, str | Shape] = dict.fromkeys(network.inputs, self.field)
        if len(network.outputs) != 1:
            message = f"masked_language takes one output, and the network has {len(network.outputs)}"
            raise SpecError(Problem(message, "Keep the one to train: `outputs: NAME`."))
        return [Call(NETWORK, inputs)]

    def output_shapes(self, fields: Mapping[str, Field]) -> Mapping[str, Shape]:
        field = fields[self.field]
        return {NETWORK: Shape((*field.shape, field.text.vocabulary if field.text is not None else 0))}

    def informed(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Self:
        text, copy = fields[self.field].text, self.model_copy()
        copy._vocabulary = text.vocabulary if text is not None else 0
        return copy

    def phases(self) -> Sequence[Phase]:
        return [Phase("train", (NETWORK,), (self.field,))]

    def hidden(self, x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return tokens (N, T) with some replaced, and which are to be told (N, T)."""
        uniform = torch.rand((2, *x.shape), generator=rng).to(x.device)
        others = torch.randint(MASK + 1, self._vocabulary, x.shape, generator=rng).to(x.device)
        chosen = (uniform[0] < self.share) & (x > MASK)
        seen = torch.where(chosen & (uniform[1] < self.masked), MASK, x)
        draws = chosen & (uniform[1] >= self.masked) & (uniform[1] < self.masked + self.random)
        return torch.where(draws, others, seen), chosen

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        x = batch[self.field]
        seen, chosen = self.hidden(x, rng)
        entropy = F.cross_entropy(call(NETWORK, seen).movedim(-1, 1), x.masked_fill(~chosen, -100), reduction="sum")
        return {"cross_entropy": entropy / chosen.sum().clamp(min=1)}  # a small batch may have none

    def evaluate(
        self, call: Caller, batch: Batch, rng: torch.Generator
    ) -> Mapping[str, Tensor | tuple[Tensor, Tensor]]:
        x = batch[self.field]
        seen, chosen = self.hidden(x, rng)
        count = chosen.sum()
        logits, tokens = call(NETWORK, seen)[chosen], x[chosen]
        each = count.clamp(min=1)
        right = (logits.argmax(-1) == tokens).sum()
        return {
            "loss": (F.cross_entropy(logits, tokens, reduction="sum") / each, count),
            "accuracy": (right / each, count),
        }

    def measured(self, means: dict[str, float]) -> dict[str, float]:
        return {**means, "perplexity": exponential(means["loss"])}

    def modes(self) -> dict[str, Mode]:
        return {"loss": "min", "accuracy": "max", "perplexity": "min"}
