"""Any layer with any options on any input: a sentence that refuses, or a plan that torch keeps to."""

import re

import pytest
import torch
from generated_layers import cases
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from test_saved_tensors import agree
from test_windows import NOTHING, promised, receives_gradient
from test_working import evaluated
from torch.utils.flop_counter import FlopCounterMode

from dlx.errors import ShapeError
from dlx.layers import LAYERS
from dlx.layers.measure import DTYPES

KINDS = sorted(LAYERS)
LOOKS = [kind for kind in KINDS if LAYERS[kind].example.dtypes[0] == "float" and kind not in NOTHING]
often = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
fewer = settings(often, max_examples=10)

NAMELESS = ("a window of ", "values, which do not fill ", "attention ")
"""Sentences that say what is wrong without the name of the layer or of an option."""
STRICTER = {
    "the batch is axis 0": "the batch or no axis",
    "slides over positions": "positions",
    "for an input with": "",  # torch lets a list of one number stand for all axes
    "is not of floats|computes with floats": "floats",
    "has patches of": "a patch larger than the input",
    "no weights to drop": "a layer that has no weights of two axes",
    "takes several|and is given \\d+ inputs|beside them, not": "",
    "takes integers, and": "not of integers",
    "which has no weight": "a layer without that weight",
    "mixes branches of one shape": "inputs that differ in rank, channels or size",
    "goes over the last": "more axes than x has",
    "leaves no axis": "no axis left",
    "loses an axis": "a vector, which has no axis to lose",
    "fills up to": "fewer out_channels",
    "num_parameters = ": "neither 1 nor the number of channels",
    "wants tokens": "other axes that differ",
    "has rows for max_length": "more tokens than `max_length`",
    "has positions of": "an input of a single axis",
    "of their own, and max_distance": "a `max_distance` that the buckets of their own reach",
    "turns pairs": "an odd n",
    "linear_attention wants": "other axes that differ",
    "do not both split": "values that do not split into `num_heads`",
    "with is_causal compares": "as many queries as keys where it is causal",
    "goes from step to step": "not (steps, values)",
    "that (rnn|gru|lstm) begins at": "a state of another shape",
    "wants queries": "heads, d or S that differ",
    "attention weighs": "heads, d or S that differ",
    "wants two matrices": "an input of a single axis",
    "gives each unit to an activation": "one that does not work on each value by itself",
    "masks what is behind the middle": "an even `kernel_size`",
    "takes one number, and": "more than one number",
    "orders variables, and there is one": "one variable",
    "changes half of the channels": "a single channel with a mask of channels",
    "masks a checkerboard": "checkerboard without positions",
    "keeps the size, and a kernel": "an even kernel",
    "is not said": "hidden units without `variables`",
    "as many values each": "no multiple of `variables`",
    "mask must be": "a mask of another size",
    "wants the scores": "an input",
    "past each other": "a `shift` as long as the window",
    "or more than there is": "that the axis does not have",
    "which step over": "step over all of it",
    "is none$": "an input that is no image",
    "in fours": "not a multiple of 4",
    "takes nodes of|goes over tokens": "not of floats and two axes",
    "wants an adjacency": "an adjacency or a mask of another size",
    "wants a mask": "of integers",
    "an expert is a list|in an expert|makes a vector of": "do not take a vector, or that compute statistics",
    "looks numbers up": "not of integers",
    "picks by numbers": "an index that is not of integers",
    "whose other axes differ": "other axes that differ",
}
"""What dlx refuses and torch takes, and how the docstring says so under Errors."""

ONCE_A_BATCH = {"continuous_relative_position_bias"}
"""What torch counts of these is of no sample."""


def warned_quietly(test):
    return pytest.mark.filterwarnings("ignore")(test)


def batch_of(n, xs):
    made = [torch.randn(n, *x) if x.dtype == "float" else torch.zeros(n, *x) for x in xs]
    return [
        y.to(getattr(torch, DTYPES[x.dtype])).requires_grad_(x.dtype == "float")
        for x, y in zip(xs, made, strict=True)
    ]


def made(kind, options):
    """The layer, or None where an option is refused."""
    try:
        return LAYERS[kind].model_validate(options)
    except ValidationError:
        return None


def accepted(kind, case):
    """The layer, its inputs and its plan where it takes them and they are floats, as a list of one, or none."""
    options, xs = case
    layer = made(kind, options)
    if layer is None or xs[0].dtype != "float":
        return []
    try:
        return [(layer, xs, layer.plan(*xs))]
    except ShapeError:
        return []


def run(layer, xs, training, n):
    """The module, and what it makes of `n` samples, forward and backward."""
    module = layer.module(*xs).train(training)
    y = module(*batch_of(n, xs))
    if y.requires_grad:
        y.sum().backward()
    return module, y


def names(layer):
    """The kind of a layer and its options, and those of the layers inside."""
    inside = [getattr(layer, name) for name in type(layer).model_fields]
    inside = [each for value in inside for each in (value if isinstance(value, list) else [value])]
    more = [name for each in inside if hasattr(each, "kind") for name in names(each)]
    return [layer.kind, *type(layer).model_fields, *more]


def reads_well(layer, refusal, xs):
    problem = refusal.problem_for([str(x) for x in xs])
    assert not re.search(r"\{\d*\}", problem.message), problem
    assert not problem.message.endswith("."), problem
    assert problem.hint.endswith((".", "?")), problem
    assert any(name in problem.message for name in (*names(layer), *NAMELESS)), problem
    return problem.message


def said_or_refused_by_torch(layer, xs, message):
    try:
        for training in (True, False):
            _, y = run(layer, xs, training, 3)
            assert all(y.shape), "nothing is left"
    except Exception:  # noqa: BLE001 - torch says no in many ways
        return
    phrases = [phrase for pattern, phrase in STRICTER.items() if re.search(pattern, message)]
    errors = " ".join(LAYERS[name].entry("Errors") for name in names(layer) if name in LAYERS)
    errors += " ".join(LAYERS[name].entry("Errors") for name in re.findall(r"those of `(\w+)`", errors))
    assert any(phrase in errors for phrase in phrases), f"torch takes what {layer.kind} refuses: {message}"


def equations_hold(layer, xs, plan):
    for line in layer.derivation(plan, *xs):
        assert not line.numbers or evaluated(line.expression) == line.value, line
        if line.part == "output" and line.value is not None:
            assert {plan.shape[k] for k in line.axes} == {line.value}, line


def macs_of_torch(layer, xs):
    """Of one sample; where a fused product is not counted, on the meta device."""
    device = "cpu" if layer.example.witness == "torch" else "meta"
    with torch.device(device):
        module, batch = layer.module(*xs).eval(), [x.to(device) for x in batch_of(2, xs)]
    with FlopCounterMode(display=False) as flops:
        module(*batch)
    return flops.get_total_flops() / 4


def is_what_torch_does(layer, xs, plan):
    alone = (
        layer.kind == "ghost_batch_norm" and layer.virtual_batch_size < 3 and plan.shape.count == plan.shape.channels
    )
    for training, n in ((True, 3), (False, 2)) if not alone else ((False, 2),):
        module, y = run(layer, xs, training, n)
        assert tuple(y.shape) == (n, *plan.shape)
        assert y.dtype == getattr(torch, DTYPES[plan.shape.dtype])
        assert {name: tuple(p.shape) for name, p in module.named_parameters()} == dict(plan.weights)
        assert {name: tuple(b.shape) for name, b in module.named_buffers()} == dict(plan.buffers)
    assert layer.kind in ONCE_A_BATCH or macs_of_torch(layer, xs) == plan.macs


@warned_quietly
@pytest.mark.parametrize("kind", KINDS)
def test_a_drawn_layer_is_refused_in_a_sentence_or_is_what_torch_makes_of_it(kind):
    @often
    @given(cases(kind))
    def holds(case):
        options, xs = case
        layer = made(kind, options)
        if layer is None:
            return
        torch.manual_seed(0)
        try:
            plan = layer.plan(*xs)
        except ShapeError as refusal:
            said_or_refused_by_torch(layer, xs, reads_well(layer, refusal, xs))
            return
        is_what_torch_does(layer, xs, plan)
        equations_hold(layer, xs, plan)

    holds()


def drops(layer):
    """Whether attention drops weights: what torch keeps then depends on which of its ways it takes."""
    return getattr(layer, "dropout", 0) or getattr(layer, "dropout_p", 0)


@warned_quietly
@pytest.mark.parametrize("kind", sorted({*LOOKS, *NOTHING} - {"ghost_batch_norm"}))  # it keeps more for more parts
def test_a_drawn_layer_keeps_for_the_backward_pass_what_it_plans(kind):
    @fewer
    @given(cases(kind))
    def holds(case):
        for layer, xs, _ in accepted(kind, case):
            if not drops(layer):
                agree(layer, xs)

    holds()


def mirrors(layer):
    """What is padded copies values from elsewhere: by convention it is seen where it stands."""
    return {"reflect", "replicate", "circular"} & {getattr(layer, "mode", ""), getattr(layer, "padding_mode", "")}


def inside(seen, problem):
    return all(low <= first <= last <= high for (first, last), (low, high) in zip(seen, problem, strict=True))


def double(x):
    return x.detach().double().requires_grad_() if x.is_floating_point() else x


def stays_inside(layer, xs, plan, at):
    """Whether a position of the output, somewhere on its axes, has gradient only where the plan tells."""
    torch.manual_seed(0)
    module, batch = layer.module(*xs).eval().double(), [double(x) for x in batch_of(4, xs)]
    for weight in module.parameters():
        torch.nn.init.uniform_(weight, 0.5, 1)
    y = module(*batch)
    if not y.isfinite().all():  # the gradient is NaN everywhere
        return
    place = [int(share * n) for share, n in zip(at, plan.shape, strict=False)]
    y[(slice(None), *place)].pow(2).sum().backward()
    for problem, value in zip(promised(plan, xs, place), batch, strict=True):
        seen = receives_gradient(value)
        assert not seen or (problem and inside(seen, problem))


@warned_quietly
@pytest.mark.parametrize("kind", sorted(set(LOOKS) - {"max_blur_pool"}))  # it mirrors, too
def test_nothing_outside_what_a_drawn_layer_sees_receives_gradient(kind):
    @fewer
    @given(cases(kind), st.lists(st.sampled_from([0, 0.4, 0.99]), min_size=6, max_size=6))
    def holds(case, at):
        for layer, xs, plan in accepted(kind, case):
            if not mirrors(layer):
                stays_inside(layer, xs, plan, at)

    holds()
