"""A network whose decoder is run token by token: its encoder once, and each token of the decoder's input once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from .steps import Cache

PADDING, BEGIN, END = 0, 1, 2
"""Numbers of the special tokens of texts."""
TOLERANCE = 1e-4
"""Largest difference of logits, by their largest value, at which steps are taken for the whole pass."""

Look = Callable[[Any], Tensor]
"""Takes the logits (N, T, vocabulary) out of what a network gives."""


class Decoder:
    """Gives the logits of the next token of a text that a network writes, for inputs that stay.

    What does not depend on the text so far, the encoder, is run once. With `by_steps` each token passes the rest of
    the network once, and layers with `step` keep what they need of those before; else the whole text passes anew.

    Arguments:
        network: the network, whose input number `place` is the text so far (N, limit).
        look: takes the logits out of its outputs.
        inputs: all inputs (N, ...); of that one only the place counts.
        limit: the longest text.
    """

    def __init__(
        self,
        network: fx.GraphModule,
        look: Look,
        inputs: Sequence[Tensor],
        place: int,
        limit: int,
        *,
        by_steps: bool = True,
    ) -> None:
        self.network, self.look, self.limit, self.by_steps = network, look, limit, by_steps
        self.caches: dict[str, Cache] = {}
        self.so_far: Tensor | None = None
        self.nodes = list(network.graph.nodes)
        self.placeholder = [node for node in self.nodes if node.op == "placeholder"][place]
        self.later = _behind(self.placeholder, self.nodes)
        """What depends on the text so far."""
        self.values: dict[fx.Node, Any] = {}
        remaining = iter(inputs)
        for node in self.nodes:
            if node.op == "placeholder":
                self.values[node] = next(remaining)
            elif node.op != "output" and node not in self.later:
                self.values[node] = self._called(node, self.values)

    def append(self, tokens: Tensor) -> Tensor:
        """Add tokens (N, n) to those so far; return the logits of the next one (N, vocabulary)."""
        self.so_far = tokens if self.so_far is None else torch.cat((self.so_far, tokens), 1)
        if self.by_steps:
            return self.outputs(tokens)[:, -1]
        there = self.so_far.shape[1]
        return self.outputs(F.pad(self.so_far, (0, self.limit - there), value=PADDING))[:, there - 1]

    def outputs(self, tokens: Tensor) -> Tensor:
        """Return the logits (N, n, vocabulary) that the network gives for the next tokens (N, n)."""
        values = {**self.values, self.placeholder: tokens}
        for node in self.nodes:
            if node.op == "output":
                return self.look(fx.node.map_arg(node.args[0], values.__getitem__))
            if node in self.later:
                values[node] = self._called(node, values)
        raise AssertionError("a graph ends in its output")

    def reorder(self, rows: Tensor) -> None:
        """Go on with these rows of the batch; a row may come several times."""
        self.values = {node: _rows(x, rows) if node.op != "get_attr" else x for node, x in self.values.items()}
        for cache in self.caches.values():
            cache.reorder(rows)
        if self.so_far is not None:
            self.so_far = self.so_far.index_select(0, rows)

    def _called(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        if node.op == "get_attr":
            return attrgetter(str(node.target))(self.network)
        module: Any = self.network.get_submodule(str(node.target))
        args = fx.node.map_arg(node.args, values.__getitem__)
        if node in self.later and self.by_steps and hasattr(module, "step"):
            return module.step(*args, cache=self.caches.setdefault(node.name, Cache()))
        return module(*args)


def goes_by_steps(network: fx.GraphModule, look: Look, inputs: Sequence[Tensor], place: int) -> bool:
    """Whether steps give what the whole pass gives, measured on a text of drawn tokens."""
    some = [x[:2] for x in inputs]
    whole = Decoder(network, look, some, place, some[place].shape[1], by_steps=False)
    shape = some[place].shape
    ones = torch.zeros(shape, dtype=torch.long, device=some[place].device)
    vocabulary = whole.outputs(ones).shape[-1]
    some_text = torch.randint(min(3, vocabulary - 1), vocabulary, shape, generator=torch.Generator().manual_seed(0))
    some_text = some_text.to(ones.device)
    some_text[:, 0] = BEGIN
    expected = whole.outputs(some_text)
    steps = Decoder(network, look, some, place, shape[1])
    try:
        logits = torch.stack([steps.append(piece) for piece in torch.split(some_text, 1, 1)], 1)
    except (RuntimeError, IndexError, TypeError, ValueError):
        return False
    return bool((logits - expected).abs().max() <= TOLERANCE * expected.abs().max().clamp_min(1.0))


class Ending:
    """A decoder of texts that end: no padding and no beginning comes in one, and after its end nothing but ends."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.ended: Tensor | None = None

    def append(self, tokens: Tensor) -> Tensor:
        """Add tokens (N, n) to those so far; return the logits of the next one (N, vocabulary)."""
        ends = (tokens == END).any(1)
        self.ended = ends if self.ended is None else self.ended | ends
        # a text that has ended goes on with padding, as those of the training do
        logits = self.decoder.append(tokens.masked_fill(self.ended.unsqueeze(1), PADDING))
        logits = logits.index_fill(1, torch.tensor([PADDING, BEGIN], device=logits.device), float("-inf"))
        only_end = torch.full_like(logits[:1], float("-inf")).index_fill(
            1, torch.tensor([END], device=logits.device), 0.0
        )
        return torch.where(self.ended.unsqueeze(1), only_end, logits)

    def reorder(self, rows: Tensor) -> None:
        """Go on with these rows of the batch; a row may come several times."""
        self.decoder.reorder(rows)
        if self.ended is not None:
            self.ended = self.ended.index_select(0, rows)


def greedy(decoder: Decoder, count: int) -> Tensor:
    """Return the texts (count, limit) of which each token is the most probable one, `<padding>` behind their ends."""
    model = Ending(decoder)
    tokens = torch.full((count, 1), BEGIN, device=next(iter(decoder.values.values())).device)
    made = []
    for _ in range(decoder.limit):
        tokens = model.append(tokens).argmax(1, keepdim=True)
        before = model.ended
        made.append(tokens if before is None else tokens.masked_fill(before.unsqueeze(1), PADDING))
        if bool((tokens == END).all()):
            break
    texts = torch.cat(made, 1)
    return F.pad(texts, (0, decoder.limit - texts.shape[1]), value=PADDING)


def _behind(first: fx.Node, nodes: Sequence[fx.Node]) -> set[fx.Node]:
    """Return the nodes that depend on `first`, without it."""
    found = {first}
    for node in nodes:
        if node.op != "output" and any(one in found for one in node.all_input_nodes):
            found.add(node)
    return found - {first}


def _rows(x: Any, rows: Tensor) -> Any:
    return x.index_select(0, rows) if isinstance(x, Tensor) else x
