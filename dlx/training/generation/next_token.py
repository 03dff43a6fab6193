"""The logits of the next token: by steps, in which layers keep what they need of the others, or by whole windows."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

from ...lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, fx

    from ...modules.steps import Cache

Look = Callable[[Any], Any]
"""Takes the logits (N, T, vocabulary) out of what a network gives."""
Read = Callable[[Any], Any]
"""Makes of tokens (N, n) what a network takes."""

TOLERANCE = 1e-4
"""Largest difference of logits, by their largest value, at which steps are taken for the whole pass."""


class NextToken(Protocol):
    """Gives the logits of the token that comes next."""

    def append(self, tokens: Tensor) -> Tensor:
        """Add tokens (N, n) to those so far; return the logits of the next one (N, vocabulary)."""

    def reorder(self, rows: Tensor) -> None:
        """Go on with these rows of the batch; a row may come several times."""


def _as_they_are(tokens: Tensor) -> Tensor:
    return tokens


class Steps:
    """A network that is run token by token: each token passes once, and layers with `step` keep what they need."""

    def __init__(self, network: fx.GraphModule, look: Look, window: int, read: Read = _as_they_are) -> None:
        from ...modules.steps import Cache

        self.network, self.look, self.window, self.read = network, look, window, read
        self.new_cache = Cache
        self.counts_tokens = False
        """Whether a layer counts the tokens, as attention and positions do, and keeps more than a state."""
        self.caches: dict[str, Cache] = {}
        self.tokens: Tensor | None = None
        """The last tokens, up to a window of them."""
        self.length = 0
        """Number of tokens that the layers know of."""

    def append(self, tokens: Tensor) -> Tensor:
        so_far = tokens if self.tokens is None else torch.cat((self.tokens, tokens), 1)
        if self.counts_tokens and self.length + tokens.shape[1] > self.window:
            # a layer that counts positions knows none beyond the window: the later half of it is read anew
            tokens = so_far[:, -max(1, self.window // 2) :]
            self.caches, self.length = {}, 0
        self.tokens = so_far[:, -self.window :]
        self.length += tokens.shape[1]
        logits: Tensor = self.look(self.outputs(self.read(tokens)))[:, -1]
        self.counts_tokens = any(cache.length for cache in self.caches.values())
        return logits

    def anew(self) -> Steps:
        """Return the same network before its first token."""
        fresh = Steps(self.network, self.look, self.window, self.read)
        fresh.counts_tokens = self.counts_tokens
        return fresh

    def outputs(self, x: Tensor) -> Any:
        """Return what the network gives for the next tokens, as it takes them."""
        values: dict[fx.Node, Any] = {}
        for node in self.network.graph.nodes:
            if node.op == "placeholder":
                values[node] = x
            elif node.op == "output":
                return torch.fx.node.map_arg(node.args[0], values.__getitem__)
            elif node.op == "get_attr":
                values[node] = attrgetter(str(node.target))(self.network)
            else:
                args = torch.fx.node.map_arg(node.args, values.__getitem__)
                values[node] = self._called(node, args)
        raise AssertionError("a graph ends in its output")

    def _called(self, node: fx.Node, args: tuple[Any, ...]) -> Any:
        module: Any = self.network.get_submodule(str(node.target))
        if not hasattr(module, "step"):
            return module(*args)
        return module.step(*args, cache=self.caches.setdefault(node.name, self.new_cache()))

    def reorder(self, rows: Tensor) -> None:
        for cache in self.caches.values():
            cache.reorder(rows)
        if self.tokens is not None:
            self.tokens = self.tokens.index_select(0, rows)


class Windows:
    """A network that takes whole windows: the last tokens pass anew for each one."""

    def __init__(self, network: fx.GraphModule, look: Look, window: int, read: Read = _as_they_are) -> None:
        self.network, self.look, self.window, self.read = network, look, window, read
        self.tokens: Tensor | None = None

    def append(self, tokens: Tensor) -> Tensor:
        so_far = tokens if self.tokens is None else torch.cat((self.tokens, tokens), 1)
        self.tokens = so_far = so_far[:, -self.window :]
        there = so_far.shape[1]
        # what stands behind the last token is not seen: the network is causal
        filled = torch.nn.functional.pad(so_far, (0, self.window - there))
        logits: Tensor = self.look(self.network(self.read(filled)))[:, there - 1]
        return logits

    def reorder(self, rows: Tensor) -> None:
        if self.tokens is not None:
            self.tokens = self.tokens.index_select(0, rows)


def next_token(
    network: fx.GraphModule, look: Look, window: int, vocabulary: int, read: Read = _as_they_are
) -> Steps | Windows:
    """Return the quicker way by which a network gives the next token: steps, where they give what a window gives.

    That is measured on drawn tokens, as a layer may see other tokens in a way that no step knows.
    """
    steps, whole = Steps(network, look, window, read), Windows(network, look, window, read)
    tokens = torch.randint(vocabulary, (1, window), generator=torch.Generator().manual_seed(0))
    sizes = [max(1, window - 3), *([1] * min(3, window - 1))]
    expected = look(network(read(tokens)))[0, torch.tensor(sizes).cumsum(0) - 1]
    try:
        logits = torch.cat([steps.append(piece) for piece in tokens.split_with_sizes(sizes, 1)])
    except (RuntimeError, IndexError, TypeError, ValueError):
        return whole
    if not bool((logits - expected).abs().max() <= TOLERANCE * expected.abs().max().clamp_min(1.0)):
        return whole
    return steps.anew()
