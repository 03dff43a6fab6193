"""Which token comes next: drawn by its probability, the most probable one, or the best of several texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import DlxError
from ...lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from .next_token import NextToken


@dataclass(frozen=True)
class Decoding:
    """How tokens are drawn from logits.

    Attributes:
        temperature: divisor of the logits; 0 takes the most probable token.
        top_k: number of the most probable tokens among which is drawn; None for all.
        top_p: the most probable tokens whose probabilities add up to it are kept; 1 for all.
            Source: Holtzman et al. 2020, arXiv:1904.09751, section 3.1.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def check(self) -> None:
        """DlxError for numbers that name no way to draw."""
        if not 0 <= self.temperature < float("inf"):
            raise DlxError(
                f"the temperature is {self.temperature}",
                hint="Take a number above 0, or 0 for the most probable token.",
            )
        if self.top_k is not None and self.top_k < 1:
            raise DlxError(f"--top-k is {self.top_k}", hint="Take 1 or more tokens.")
        if not 0 < self.top_p <= 1:
            raise DlxError(f"--top-p is {self.top_p}", hint="Take a probability above 0, up to 1.")

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities by which is drawn, of logits (N, vocabulary), in float64."""
        logits = logits.double()
        if self.temperature == 0:
            return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).double()
        logits = logits / self.temperature
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            least = logits.topk(self.top_k, -1).values[:, -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        found = logits.softmax(-1)
        if self.top_p < 1:
            ordered, places = found.sort(dim=-1, descending=True, stable=True)
            before = ordered.cumsum(-1) - ordered
            left = torch.zeros_like(found).scatter(-1, places, ordered.where(before < self.top_p, 0.0))
            found = left / left.sum(-1, keepdim=True)
        return found


@dataclass(frozen=True)
class Generated:
    """Tokens that were made, (n,), and the sum of the logarithms of their probabilities, in nats."""

    tokens: tuple[int, ...]
    log_probability: float


def sampled_texts(
    model: NextToken, prompt: Tensor, n: int, decoding: Decoding, seeds: Sequence[int]
) -> list[Generated]:
    """Draw a text of `n` tokens after a prompt (1, tokens) for each seed; a text depends on its own seed alone."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    logits = model.append(prompt.expand(len(seeds), -1))
    made, log_p = [], torch.zeros(len(seeds), dtype=torch.float64)
    for i in range(n):
        where = torch.stack([torch.rand((), dtype=torch.float64, generator=each) for each in generators])
        sums = decoding.probabilities(logits).cumsum(-1)
        # by the inverse of the distribution: one number a token, whatever the other rows draw
        tokens = torch.searchsorted(sums, (where * sums[:, -1]).unsqueeze(1), right=True).clamp_max(sums.shape[1] - 1)
        log_p += logits.double().log_softmax(-1).gather(1, tokens).squeeze(1)
        made.append(tokens)
        if i + 1 < n:
            logits = model.append(tokens)
    rows = torch.cat(made, 1).tolist() if made else [[] for _ in seeds]
    return [Generated(tuple(row), float(one)) for row, one in zip(rows, log_p, strict=True)]


def beam_search(model: NextToken, prompt: Tensor, n: int, width: int) -> Generated:
    """Return the most probable text of `n` tokens that a beam search of `width` texts finds.

    Source: Goodfellow, Bengio & Courville 2016, Deep Learning, section 12.4.5 (beam search).
    """
    log_p = model.append(prompt).double().log_softmax(-1)
    texts = torch.empty(1, 0, dtype=torch.long)
    scores = torch.zeros(1, dtype=torch.float64)
    for i in range(n):
        every = (scores.unsqueeze(1) + log_p).flatten()
        scores, best = every.topk(min(width, len(every)))
        rows, tokens = best // log_p.shape[1], best % log_p.shape[1]
        texts = torch.cat((texts.index_select(0, rows), tokens.unsqueeze(1)), 1)
        if i + 1 < n:
            model.reorder(rows)
            log_p = model.append(tokens.unsqueeze(1)).double().log_softmax(-1)
    return Generated(tuple(texts[0].tolist()), float(scores[0]))
