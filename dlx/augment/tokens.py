"""Random changes of texts, token by token: noise, dropout, synonyms, swaps and deletions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ..errors import ShapeError, listed
from ..lazy import torch
from ..shapes import Shape
from .base import Augmentation, Probability

if TYPE_CHECKING:
    from torch import Tensor

    Replace = Callable[[Tensor], Tensor]

MASKED = -100
"""Target of a position that does not count."""


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that texts are made of.

    Attributes:
        names: each token as a text.
        unknown: number of the token that stands for all others; None where there is none.
        tells_next: whether the target at a position is the token of the next one.
    """

    names: tuple[str, ...]
    unknown: int | None
    tells_next: bool


class OfTokens(Augmentation):
    """Base class of changes of texts (tokens,): numbers of tokens, each below the size of the vocabulary."""

    ranks: ClassVar[tuple[int, ...]] = (1,)
    of_texts: ClassVar[bool] = True

    def output_shape(self, x: Shape) -> Shape:
        if x.rank != 1:
            raise ShapeError(f"{self.kind} changes the tokens of a text, and what comes in is {x}", "Leave it out.")
        return x

    def misfit(self, names: Sequence[str], unknown: str) -> str:
        """Return why it does not fit to a vocabulary, whose token of all else is `unknown`; empty where it fits."""
        return ""


class Replacing(OfTokens):
    """Base class of changes of tokens at their places; what is to be told stays as it was."""

    def of(self, vocabulary: Vocabulary) -> Replace:
        """Return the function that replaces tokens (N, tokens)."""
        raise TypeError(f"{type(self).__name__} has no of()")


class Reordering(OfTokens):
    """Base class of changes of the order; targets at positions move along with them."""

    def order(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the token of each place comes from (N, tokens), and whether there is one (N, tokens)."""
        raise TypeError(f"{type(self).__name__} has no order()")


class TokenNoise(Replacing):
    """Replace each token, with probability `p`, by one that is drawn from the batch: by the frequency of each.

    Of characters that is noise of characters. Targets stay.
    Source: Xie et al. 2017, Data noising as smoothing in neural network language models, section 3.2 (unigram noise).
    """

    kind: ClassVar[str] = "token_noise"
    p: Probability = Field(0.1, description="probability that a token is replaced")

    def of(self, vocabulary: Vocabulary) -> Replace:
        def replace(x: Tensor) -> Tensor:
            others = x.flatten()[torch.randint(x.numel(), x.shape, device=x.device)]
            return torch.where(_selected(x, self.p), others, x)

        return replace


class TokenDropout(Replacing):
    """Replace each token, with probability `p`, by the token of what is not in the vocabulary (word dropout).

    Targets stay. Errors: a vocabulary without such a token.
    Source: Bowman et al. 2016, Generating sentences from a continuous space, section 3.1; Xie et al. 2017, section
        3.2 (blank noise).
    """

    kind: ClassVar[str] = "token_dropout"
    p: Probability = Field(0.1, description="probability that a token is replaced")

    def misfit(self, names: Sequence[str], unknown: str) -> str:
        if unknown in names:
            return ""
        return f"{self.kind} puts the token of unknown text in place of others, and the vocabulary has none"

    def of(self, vocabulary: Vocabulary) -> Replace:
        unknown = vocabulary.unknown
        assert unknown is not None
        return lambda x: x.masked_fill(_selected(x, self.p), unknown)


class Synonyms(Replacing):
    """Replace each token that has synonyms, with probability `p`, by one of them, each as likely.

    Targets stay, and so does the vocabulary. Errors: a token or synonym that is not in it.
    Source: Wei & Zou 2019, EDA: Easy data augmentation, arXiv:1901.11196, section 2 (synonym replacement).
    """

    kind: ClassVar[str] = "synonyms"
    by: dict[str, list[str]] = Field(min_length=1, description="synonyms by token: {quick: [fast, rapid]}")
    p: Probability = Field(0.1, description="probability that a token with synonyms is replaced")

    def misfit(self, names: Sequence[str], unknown: str) -> str:
        known = set(names)
        missing = [one for word, others in self.by.items() for one in (word, *others) if one not in known]
        if empty := [word for word, others in self.by.items() if not others]:
            return f"{self.kind} has no synonym of `{empty[0]}`"
        named = listed(missing)
        return f"{self.kind} has {named}, which the vocabulary has not" if missing else ""

    def of(self, vocabulary: Vocabulary) -> Replace:
        number = {name: i for i, name in enumerate(vocabulary.names)}
        most = max(map(len, self.by.values()))
        table = torch.arange(len(number)).unsqueeze(1).repeat(1, most)
        counts = torch.zeros(len(number), dtype=torch.long)
        for word, others in self.by.items():
            table[number[word], : len(others)] = torch.tensor([number[one] for one in others])
            counts[number[word]] = len(others)

        def replace(x: Tensor) -> Tensor:
            many = counts.to(x.device)[x]
            which = (torch.rand(x.shape, device=x.device) * many).long().clamp_max(most - 1)
            return torch.where(_selected(x, self.p) & (many > 0), table.to(x.device)[x, which], x)

        return replace


class TokenSwap(Reordering):
    """Let pairs of tokens change places: each token is in such a pair with probability `p`.

    Pairs are neighbours, as in typing errors, or any two of a text. A language model tells what follows in the new
    order.
    Source: Wei & Zou 2019, EDA, arXiv:1901.11196, section 2 (random swap); Belinkov & Bisk 2018, Synthetic and
        natural noise both break neural machine translation, section 4.2 (swaps of neighbours).
    """

    kind: ClassVar[str] = "token_swap"
    p: Probability = Field(0.1, description="probability that a token changes its place")
    pairs: Literal["any", "neighbours"] = Field("any", description="which tokens change places")

    def order(self, x: Tensor) -> tuple[Tensor, Tensor]:
        count, length = x.shape
        if self.pairs == "any":
            row = torch.rand(x.shape, device=x.device).argsort(1)
        else:  # pairs begin at the first or the second token
            first = torch.randint(2, (count, 1), device=x.device)
            row = (torch.arange(length, device=x.device) + first) % length
        pairs = length // 2
        left, right = row[:, : 2 * pairs : 2], row[:, 1 : 2 * pairs : 2]
        swapped = torch.rand(left.shape, device=x.device) < self.p
        if self.pairs == "neighbours":
            swapped = swapped & (right == left + 1)
        place = torch.arange(length, device=x.device).repeat(count, 1)
        order = place.scatter(1, left, torch.where(swapped, right, left))
        order = order.scatter(1, right, torch.where(swapped, left, right))
        return order, torch.ones_like(x, dtype=torch.bool)


class TokenDeletion(Reordering):
    """Delete each token with probability `p`; those behind it move up, and one stays at least.

    The places that are left over at the end do not count. A language model tells what follows in the new order.
    Source: Wei & Zou 2019, EDA, arXiv:1901.11196, section 2 (random deletion).
    """

    kind: ClassVar[str] = "token_deletion"
    p: Probability = Field(0.1, description="probability that a token is deleted")

    def order(self, x: Tensor) -> tuple[Tensor, Tensor]:
        gone = _selected(x, self.p)
        gone[:, 0] &= ~gone.all(1)
        order = gone.long().argsort(dim=1, stable=True)
        return order, ~gone.gather(1, order)


def replaced(step: Replacing, vocabulary: Vocabulary) -> Callable[[Tensor, Any], tuple[Tensor, Any]]:
    """Return the function that changes inputs and leaves targets."""
    change = step.of(vocabulary)
    return lambda x, y: (change(x), y)


def reordered(step: Reordering, vocabulary: Vocabulary) -> Callable[[Tensor, Any], tuple[Tensor, Any]]:
    """Return the function that moves inputs (N, tokens), and targets (N, tokens) along with them."""

    def along(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        order, there = step.order(x)
        return x.gather(1, order).where(there, 0), y.gather(1, order).where(there, MASKED)

    def next_targets(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        # the tokens and the one after them as one text, whose end may lie before that of the window
        text = torch.cat((x, y[:, -1:].clamp_min(0)), 1)
        counts = torch.cat((torch.ones_like(y[:, :1], dtype=torch.bool), y != MASKED), 1)
        order, there = step.order(text)
        counts = counts.gather(1, order) & there
        text = text.gather(1, order).where(counts, 0)
        # a token that comes from behind the end of its document tells nothing, and is told by nothing
        return text[:, :-1], text[:, 1:].where(counts[:, 1:] & counts[:, :-1], MASKED)

    return next_targets if vocabulary.tells_next else along


def _selected(x: Tensor, p: float) -> Tensor:
    """Select each token with probability `p`."""
    return torch.rand(x.shape, device=x.device) < p


__all__ = ["OfTokens", "Reordering", "Replacing", "Vocabulary", "reordered", "replaced"]
