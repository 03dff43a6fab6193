"""How a layer that slides is asked: what it computes, and which inputs a position of its output has a gradient at."""

from itertools import product

import torch

from dlx.graph.graph import Wire
from dlx.graph.receptive_field import propagation
from dlx.layers import LAYERS
from dlx.shapes import Shape


def built(kind, options, *inputs):
    """The plan and the module, in float64."""
    layer, xs = LAYERS[kind].model_validate(options), [Shape(x) for x in inputs]
    return layer.plan(*xs), layer.module(*xs).double()


def run(kind, *values, **options):
    return built(kind, options, *(v.shape[1:] for v in values))[1](*values)


def planned_hull(plan, x, position):
    """First and last position of an input of shape `x` that `position` of the output sees, within the input."""
    wire = propagation.propagate([Wire("x", Shape(x), propagation.of_input("x", Shape(x)))], plan, "it")
    ends = [span.at((0, *position)) for span in wire.symbolic_fields["x"].axes[1:]]
    return [(max(a, 0), min(b, n - 1)) for (a, b), n in zip(ends, x[1:], strict=True)]


def measured(plan, module, x, more=(), samples=1):
    """Each position of the output, and the first and last input with gradient on each axis; None where there is none.

    Rounding is not gradient.
    """
    value = torch.rand(samples, *x, dtype=torch.float64, requires_grad=True)
    y = module(value, *more)
    for position in product(*map(range, plan.shape.size)):
        total = y[(slice(None), slice(None), *position)].sum()
        (slope,) = torch.autograd.grad(total, value, retain_graph=True)
        hit = (slope.abs() > 1e-6).flatten(0, 1).any(0).nonzero()
        yield position, list(zip(hit.amin(0).tolist(), hit.amax(0).tolist(), strict=True)) if len(hit) else None


def hulls(plan, module, x, more=(), samples=1):
    """For each position of the output: whether what it sees lies in what the plan tells, and is just that."""
    for position, seen in measured(plan, module, x, more, samples):
        hull = planned_hull(plan, x, position)
        inside = seen is None or all(low <= a <= b <= high for (low, high), (a, b) in zip(hull, seen, strict=True))
        yield inside, seen == hull


def positive(module):
    """The module with weights that no sum can cancel."""
    for weight in module.parameters():
        torch.nn.init.uniform_(weight, 0.5, 1)
    return module
