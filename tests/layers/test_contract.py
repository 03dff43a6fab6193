"""What every layer promises. A new layer joins these tests by existing."""

import inspect
import re
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dlx.layers import LAYERS
from dlx.layers.measure import DTYPES

KINDS = sorted(LAYERS)

SAID_TO_DIFFER = {
    ("glu", "dim"): "torch halves the last axis",
    ("log_softmax", "dim"): "torch leaves `dim` to be guessed",
    ("softmax", "dim"): "torch leaves `dim` to be guessed",
    ("softmin", "dim"): "torch leaves `dim` to be guessed",
    ("upsample", "mode"): "torch leaves `mode` at nearest",
}
STANDS_FOR = {("layer_norm", "over"): "normalized_shape", ("rms_norm", "over"): "normalized_shape"}
"""Fields that say in other words what an argument of torch says."""


def zeros(x):
    return torch.zeros(2, *x, dtype=getattr(torch, DTYPES[x.dtype]))


def torch_classes(kind):
    """The classes of torch that the docstring names."""
    named = re.search(r"torch: (\w+(?:, \w+)*)", LAYERS[kind].__doc__).group(1)
    return [] if named == "none" else [getattr(nn, name) for name in named.split(", ")]


@pytest.mark.parametrize("kind", KINDS)
def test_plan_is_what_was_worked_by_hand(kind):
    layer, xs, by_hand = LAYERS[kind].worked_example()
    plan = layer.plan(*xs)

    assert tuple(plan.shape) == by_hand.shape
    assert (plan.params, plan.buffered, plan.macs) == (by_hand.params, by_hand.buffers, by_hand.macs)


@pytest.mark.parametrize("kind", KINDS)
def test_plan_is_what_torch_does(kind):
    layer, xs, by_hand = LAYERS[kind].worked_example()
    plan, module = layer.plan(*xs), layer.module(*xs)

    with FlopCounterMode(display=False) as flops:
        y = module(*map(zeros, xs))

    assert tuple(y.shape) == (2, *plan.shape)
    assert y.dtype == getattr(torch, DTYPES[plan.shape.dtype])
    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == dict(plan.weights)
    assert {name: tuple(b.shape) for name, b in module.named_buffers()} == dict(plan.buffers)
    if by_hand.witness == "torch":
        assert flops.get_total_flops() == 2 * 2 * plan.macs


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_says_whether_it_learns_and_shares_memory(kind):
    layer, xs, _ = LAYERS[kind].worked_example()
    plan = layer.plan(*xs)
    case, module = [zeros(x) for x in xs], layer.module(*xs).eval()
    y = module(*case)

    assert layer.learns >= bool(plan.weights)
    if plan.view:
        assert y.untyped_storage().data_ptr() == case[0].untyped_storage().data_ptr()


def test_plans_need_no_torch():
    program = (
        "import sys; from dlx.layers import LAYERS\n"
        "for kind in LAYERS:\n"
        "    layer, xs, _ = LAYERS[kind].worked_example()\n"
        "    layer.plan(*xs)\n"
        "assert len(LAYERS) > 40 and 'torch' not in sys.modules\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_of_a_layer_says_shapes_cost_errors_and_source_in_this_order(kind):
    found = re.findall(r"^    (Shapes|Cost|Errors|Source): \S", LAYERS[kind].__doc__, re.MULTILINE)

    assert found == ["Shapes", "Cost", "Errors", "Source"]
    assert re.search(r"torch: \w", LAYERS[kind].__doc__)
    assert len(LAYERS[kind].summary()) < 118


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_says_what_it_is(kind):
    assert [name for name, info in LAYERS[kind].model_fields.items() if not info.description] == []


@pytest.mark.parametrize("kind", KINDS)
def test_fields_have_the_names_and_defaults_of_torch(kind):
    for torch_class in torch_classes(kind):
        theirs = inspect.signature(torch_class).parameters
        for name, info in LAYERS[kind].model_fields.items():
            if (kind, name) in SAID_TO_DIFFER or (kind, name) in STANDS_FOR:
                continue
            assert name in theirs, f"{torch_class.__name__} has no {name}"
            default = theirs[name].default
            assert info.is_required() == (default is inspect.Parameter.empty)
            assert info.is_required() or info.default == default


@pytest.mark.parametrize(("kind", "name"), SAID_TO_DIFFER)
def test_a_default_that_differs_is_said_in_the_docstring(kind, name):
    (torch_class,) = torch_classes(kind)

    assert LAYERS[kind].model_fields[name].default != inspect.signature(torch_class).parameters[name].default
    assert SAID_TO_DIFFER[kind, name] in LAYERS[kind].__doc__


@pytest.mark.parametrize(("kind", "name"), STANDS_FOR)
def test_a_field_that_stands_for_an_argument_of_torch_says_so(kind, name):
    (torch_class,) = torch_classes(kind)
    theirs = STANDS_FOR[kind, name]

    assert theirs in inspect.signature(torch_class).parameters
    assert f"`{name}` stands for its {theirs}" in " ".join(LAYERS[kind].__doc__.split())


def test_every_activation_of_torch_is_here():
    wanted = set(nn.modules.activation.__all__) - {"MultiheadAttention", "Softmax2d"}  # attention; softmax with dim 1
    here = {torch_class.__name__ for kind in KINDS for torch_class in torch_classes(kind)}

    assert wanted <= here
