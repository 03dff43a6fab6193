"""Layers of graphs with a dense adjacency matrix."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GraphConv(nn.Module):
    """A' X W^T + b, with A' the adjacency, normalised by degrees.

    Shapes: nodes (N, V, F), adjacency (N, V, V) and a mask (N, V) or none -> (N, V, out).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        normalize: Literal["symmetric", "mean", "none"] = "symmetric",
        add_self_loops: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(out_features, in_features)))
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        self.normalize, self.add_self_loops = normalize, add_self_loops

    def forward(self, x: Tensor, adjacency: Tensor, mask: Tensor | None = None) -> Tensor:
        there = None if mask is None else _truth(mask)
        edges = self.normalized(adjacency.to(x.dtype), there)
        if there is not None:
            x = x.masked_fill(~there.unsqueeze(2), 0)
        made = edges @ F.linear(x, self.weight)
        made = made if self.bias is None else made + self.bias
        return made if there is None else made.masked_fill(~there.unsqueeze(2), 0)

    def normalized(self, edges: Tensor, there: Tensor | None = None) -> Tensor:
        """Return A' for an adjacency (N, V, V) of floats, without the edges of nodes that are not there."""
        if self.add_self_loops:
            edges = edges + torch.eye(edges.shape[1], dtype=edges.dtype, device=edges.device)
        if there is not None:
            edges = edges.masked_fill(~(there.unsqueeze(2) & there.unsqueeze(1)), 0)
        if self.normalize == "none":
            return edges
        degree = edges.sum(2)
        if self.normalize == "mean":
            return edges / degree.masked_fill(degree == 0, 1).unsqueeze(2)
        scale = degree.clamp_min(1e-12).rsqrt().masked_fill(degree <= 0, 0)
        return scale.unsqueeze(2) * edges * scale.unsqueeze(1)

    def extra_repr(self) -> str:
        out, into = self.weight.shape
        return f"{into}, {out}, normalize={self.normalize}, add_self_loops={self.add_self_loops}"


class GraphAttention(nn.Module):
    """Means of the neighbours, weighed by attention, in several heads.

    Shapes: nodes (N, V, F), adjacency (N, V, V) and a mask (N, V) or none -> (N, V, heads * out), or (N, V, out).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        heads: int = 1,
        concat: bool = True,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        add_self_loops: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(heads * out_features, in_features)))
        self.att_src = nn.Parameter(nn.init.xavier_uniform_(torch.empty(heads, out_features)))
        self.att_dst = nn.Parameter(nn.init.xavier_uniform_(torch.empty(heads, out_features)))
        self.bias = nn.Parameter(torch.zeros(heads * out_features if concat else out_features)) if bias else None
        self.heads, self.concat, self.negative_slope = heads, concat, negative_slope
        self.dropout, self.add_self_loops = dropout, add_self_loops

    def forward(self, x: Tensor, adjacency: Tensor, mask: Tensor | None = None) -> Tensor:
        there = None if mask is None else _truth(mask)
        if there is not None:
            x = x.masked_fill(~there.unsqueeze(2), 0)
        values = F.linear(x, self.weight).view(*x.shape[:2], self.heads, -1).transpose(1, 2).contiguous()
        shares = self.shares(values, self._edges(adjacency, there))
        made: Tensor = F.dropout(shares, self.dropout, self.training) @ values
        made = made.transpose(1, 2).flatten(2) if self.concat else made.mean(1)
        made = made if self.bias is None else made + self.bias
        return made if there is None else made.masked_fill(~there.unsqueeze(2), 0)

    def shares(self, values: Tensor, edges: Tensor) -> Tensor:
        """Return the weight that each node gives each neighbour, zeros for one without any: (N, heads, V, V).

        `values` are (N, heads, V, out), `edges` (N, V, V).
        """
        from_node, to_node = ((values * a.unsqueeze(1)).sum(3) for a in (self.att_src, self.att_dst))
        scores = F.leaky_relu(to_node.unsqueeze(3) + from_node.unsqueeze(2), self.negative_slope)
        hidden = ~edges.unsqueeze(1)
        lowest = torch.finfo(scores.dtype).min  # not -inf: a row without an edge would be NaN
        return scores.masked_fill(hidden, lowest).softmax(3).masked_fill(hidden, 0)

    def _edges(self, adjacency: Tensor, there: Tensor | None) -> Tensor:
        edges = _truth(adjacency)
        if self.add_self_loops:
            edges = edges | torch.eye(edges.shape[1], dtype=torch.bool, device=edges.device)
        return edges if there is None else edges & there.unsqueeze(2) & there.unsqueeze(1)

    def extra_repr(self) -> str:
        width, into = self.weight.shape
        return f"{into}, {width // self.heads}, heads={self.heads}, concat={self.concat}"


class MaskedPool(nn.Module):
    """Mean, sum or maximum of the tokens that are there. Shapes: (N, T, D) and a mask (N, T) -> (N, D)."""

    def __init__(self, reduce: Literal["mean", "sum", "amax"] = "mean") -> None:
        super().__init__()
        self.reduce = reduce

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        there = _truth(mask).unsqueeze(2)
        if self.reduce == "amax":
            lowest = torch.finfo(x.dtype).min
            return x.masked_fill(~there, lowest).amax(1).masked_fill(~there.any(1), 0)
        total = x.masked_fill(~there, 0).sum(1)
        return total / there.sum(1).clamp_min(1) if self.reduce == "mean" else total

    def extra_repr(self) -> str:
        return f"reduce={self.reduce}"


def _truth(x: Tensor) -> Tensor:
    return x if x.dtype == torch.bool else x != 0
