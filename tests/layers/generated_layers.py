"""Layers drawn from the registry: options from the types of their fields, and inputs of small shapes."""

from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from dlx.errors import ShapeError
from dlx.layers import LAYERS, Layer
from dlx.shapes import Shape

FLOATS = [-1.5, 0.0, 1e-6, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0]
NAMES = {"name": ["weight", "weight", "bias", "in_proj_weight", "wait"]}
"""What a field of text may hold."""
INSIDE = ["linear", "conv", "depthwise_conv", "conv_transpose", "relu", "prelu", "swish", "dropout", "batch_norm"]
INSIDE += ["identity", "layer_norm", "multihead_attention", "separable_conv", "weight_norm", "embedding", "tanh"]
"""Layers drawn for a field that is a layer."""

EXPERTS = [["relu"], [{"linear": 3}], [{"linear": 4}, "gelu", {"linear": 2}], ["layer_norm", {"linear": 2}]]
EXPERTS += [[{"conv": {"out_channels": 2, "kernel_size": 1}}], ["batch_norm"], [{"reshape": [1, -1]}], ["add"]]
"""Lists of layers drawn for a field that is a list of them."""

positions = st.sampled_from([1, 2, 3, 4, 5, 7, 8])
channels = st.sampled_from([1, 2, 3, 4, 6, 8])


def numbers(bounds, candidates):
    """Those of `candidates` within the bounds."""
    return st.sampled_from([c for c in candidates if all(inside(c, bound) for bound in bounds)])


def inside(value, bound):
    match bound:
        case Gt(gt=low):
            return value > low
        case Ge(ge=low):
            return value >= low
        case Lt(lt=high):
            return value < high
        case Le(le=high):
            return value <= high
    return True


def values(annotation, bounds, rank, name=""):
    """Values of a field; lists are mostly as long as an input of `rank` axes has positions."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner, *more = parts
        more = [m for each in more for m in (each.metadata if isinstance(each, FieldInfo) else [each])]
        return values(inner, [*bounds, *more], rank, name)
    if origin in (Union, UnionType):
        return st.one_of([values(part, bounds, rank, name) for part in parts])
    if origin is list and parts == (Layer,):
        return st.sampled_from(EXPERTS)
    if origin is list:
        low = next((bound.min_length for bound in bounds if isinstance(bound, MinLen)), 0)
        return listed(values(*parts, (), rank, name), low, rank)
    simple = {
        bool: st.booleans,
        int: lambda: numbers(bounds, [*range(-3, 6), *range(1, 4)]),
        float: lambda: numbers(bounds, FLOATS),
        str: lambda: st.sampled_from(NAMES[name]),
        Layer: lambda: st.sampled_from(INSIDE).flatmap(lambda kind: options(kind, rank).map(lambda o: {kind: o})),
        NoneType: st.none,
        LAYERS["rotary_embedding"]: lambda: options("rotary_embedding", rank),
    }
    return st.sampled_from(parts) if origin is Literal else simple[annotation]()


@st.composite
def listed(draw, each, low, rank):
    size = draw(st.sampled_from([rank - 1] * 3 + [2 * rank - 2, rank]) | st.integers(1, 6))
    return draw(st.lists(each, min_size=max(size, low), max_size=max(size, low)))


@st.composite
def options(draw, kind, rank):
    """Options of a layer: those of its example, some of its defaults, or others."""
    cls, chosen = LAYERS[kind], {}
    for name, info in cls.model_fields.items():
        how = draw(st.sampled_from(["as in the example", "drawn"]))
        if how == "drawn" or (name not in cls.example.options and info.is_required()):
            chosen[name] = draw(values(info.annotation, info.metadata, rank, name))
        elif name in cls.example.options:
            chosen[name] = cls.example.options[name]
    return chosen


def shapes(rank):
    return st.tuples(channels, *[positions] * (rank - 1))


@st.composite
def renamed(draw, xs):
    """The inputs of an example with other lengths; axes that are alike stay alike."""
    lengths = sorted({n for x in xs for n in x})
    others = {n: draw(st.just(n) | st.integers(1, 9)) for n in lengths}
    return [tuple(others[n] for n in x) for x in xs]


@st.composite
def relatives(draw, x, count):
    """Inputs that are mostly as `x`, with an axis of 1 or of another length here and there."""
    xs = [x]
    for _ in range(count - 1):
        other = list(x)
        for axis in draw(st.sets(st.integers(0, len(x) - 1), max_size=2)) if draw(st.booleans()) else ():
            other[axis] = draw(st.sampled_from([1, 1, x[axis], x[-1]]) | positions)
        xs.append(tuple(other))
    return draw(st.permutations(xs))


def arity(kind):
    takes = LAYERS[kind].arity
    return st.integers(2, 4) if takes is None else st.sampled_from(takes if isinstance(takes, tuple) else (takes,))


@st.composite
def cases(draw, kind):
    """Options and inputs for a layer: they may fit, or not."""
    cls, count = LAYERS[kind], draw(arity(kind))
    example = [tuple(x) for x in cls.example.inputs]
    if draw(st.booleans()) and len(example) == count:
        xs = draw(st.just(example) | renamed(example))
        rank = len(xs[0])
    else:
        rank = draw(st.sampled_from([1, 2, 2, 3, 3, 4]))
        xs = draw(relatives(draw(shapes(rank)), count))
    chosen = draw(options(kind, xs[0][0] + 1 if kind == "per_unit" else rank))
    if kind == "max_unpool" and draw(st.booleans()):
        xs = [unpooled(draw, chosen, xs[0]), xs[0]]
    other = draw(st.sampled_from([""] * 7 + ["int", "bool"]))
    dtypes = cls.example.dtypes if len(cls.example.inputs) == count else [cls.example.dtypes[0]] * count
    return chosen, [Shape(x, other or dtype) for x, dtype in zip(xs, dtypes, strict=True)]


def unpooled(draw, chosen, x):
    """What a max pool with these options makes of `x`, where it can."""
    try:
        return tuple(
            LAYERS["max_pool"].model_validate(chosen | {"ceil_mode": draw(st.booleans())}).plan(Shape(x)).shape
        )
    except (ShapeError, ValueError):
        return x
