"""What each layer says that torch keeps for the backward pass, against what torch keeps.

For the author of a layer: where this fails, set `Plan.keeps` and `Plan.keeps_more` to what the message tells.
"inputs" (all of them) and "output" stand for their values; `keeps_more` counts the bytes of a sample beside them: 4
for a float of a mask, of something computed inside, or of one input where the others are not kept; 8 for an index.
`held` tells what a gradient of some inputs, or of the weights, alone needs. What stays the same for a larger batch is
left out, but for weights that are worked out from others. What oneDNN holds of an LSTM depends on the processor: here
it is what torch's own kernel holds.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from dlx.layers import LAYERS
from dlx.layers.base import OWN, SavedTensors
from dlx.layers.measure import DTYPES
from dlx.shapes import Shape


@contextmanager
def kernels_for(kind) -> Iterator[None]:
    """Without oneDNN for an LSTM."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TF32 acceleration on top of oneDNN")  # torch, of any flag of it
        before = torch.backends.mkldnn.set_flags(kind != "lstm")
        try:
            yield
        finally:
            torch.backends.mkldnn.set_flags(*before)


def batch_of(n, x, needs_grad):
    if x.dtype != "float":
        return torch.zeros(n, *x, dtype=getattr(torch, DTYPES[x.dtype]))
    return torch.randn(n, *x).requires_grad_(needs_grad)


def measured(layer, xs, n, needs_grad):
    """Which inputs are kept for the backward pass of `n` samples, whether the output is, and the bytes beside."""
    torch.manual_seed(0)
    module = layer.module(*xs).train().requires_grad_(OWN in needs_grad)
    tensors = [batch_of(n, x, i in needs_grad) for i, x in enumerate(xs)]
    saved = []
    with kernels_for(layer.kind), saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        y = module(*tensors)
    memory = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in saved}
    inputs = {i for i, x in enumerate(tensors) if memory.pop(x.untyped_storage().data_ptr(), None)}
    for own in (*module.parameters(), *module.buffers()):
        memory.pop(own.untyped_storage().data_ptr(), None)
    output = memory.pop(y.untyped_storage().data_ptr(), None)
    return frozenset(inputs), output is not None, sum(memory.values())


def saved_by_torch(layer, xs, needs_grad=None):
    needs_grad = every(layer.plan(*xs), xs) if needs_grad is None else needs_grad
    inputs, output, few = measured(layer, xs, 4, needs_grad)
    *_, many = measured(layer, xs, 8, needs_grad)
    each = (many - few) // 4
    return SavedTensors(inputs, output, each, few - 4 * each)


def every(plan, xs):
    """The inputs that a gradient can reach, and the weights."""
    of_inputs = [i for i, x in enumerate(xs) if x.dtype == "float" and i not in plan.no_gradient]
    return (*of_inputs, *([OWN] if plan.weights else []))


def planned(layer, xs, needs_grad=None):
    plan = layer.plan(*xs)
    return plan.saved_tensors(every(plan, xs) if needs_grad is None else needs_grad, len(xs))


WHATEVER_THE_BATCH = {"weight_norm", "spectral_norm", "drop_connect", "p4_conv", "p4_lifting_conv"}
WHATEVER_THE_BATCH |= {"continuous_relative_position_bias", "multihead_attention"}
WHATEVER_THE_BATCH |= {"relative_attention", "transformer_xl_attention", "masked_linear", "masked_conv"}
WHATEVER_THE_BATCH |= {"invertible_1x1"}
"""What these hold of weights that are worked out is planned; statistics of a batch norm and the like are not."""
FEW = 32
"""Bytes for each channel of the input: more is nothing that may be left out."""


def agree(layer, xs, needs_grad=None):
    plan, torchs = planned(layer, xs, needs_grad), saved_by_torch(layer, xs, needs_grad)
    if layer.kind not in WHATEVER_THE_BATCH:
        assert torchs.fixed <= FEW * xs[0].channels, f"{layer.kind} on {xs} holds {torchs} for any batch"
        torchs = replace(torchs, fixed=0)
    problem = ", ".join(f"{name}: {value}" for name, value in layer.options().items())
    assert plan == torchs, f"{layer.kind} {{{problem}}} on {xs} plans {plan}, and torch has {torchs}: see {__name__}"


@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_a_layer_plans_what_torch_keeps_for_the_backward_pass(kind):
    layer, xs, _ = LAYERS[kind].worked_example()
    agree(layer, xs)


PLANNED_AS_ONE = {"rnn", "gru", "lstm", "highway", "per_unit", "partial_conv"}
PLANNED_AS_ONE |= {"cond_conv", "deformable_conv", "linear_attention", "dynamic_conv", "mixture_of_experts"}
PLANNED_AS_ONE |= {"relative_attention", "transformer_xl_attention"}
"""Frozen, or first in a network, they hold less than is planned."""


@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_an_operand_is_planned_only_where_a_gradient_reaches_what_needs_it(kind):
    """Any part of the inputs may want no gradient, as what comes in from outside; the weights may be frozen."""
    layer, xs, _ = LAYERS[kind].worked_example()
    whole = every(layer.plan(*xs), xs)
    for needs_grad in (part for n in range(1, len(whole)) for part in combinations(whole, n)):
        if kind in PLANNED_AS_ONE:
            mine, torchs = planned(layer, xs, needs_grad), saved_by_torch(layer, xs, needs_grad)
            assert torchs.inputs <= mine.inputs
            assert torchs.more <= mine.more
        else:
            agree(layer, xs, needs_grad)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("drop_connect", {"layer": {"conv": {"out_channels": 4, "kernel_size": 3}}}),
        ("drop_connect", {"layer": {"linear": 4}, "p": 0}),
        ("drop_connect", {"layer": {"linear": 4}}),
        ("weight_norm", {"layer": {"linear": 4}}),
        ("drop_connect", {"layer": {"linear": 4}, "p": 1}),
        ("weight_norm", {"layer": {"linear": 4}, "dim": 1}),
        ("weight_norm", {"layer": {"linear": 4}, "dim": None}),
        ("weight_norm", {"layer": {"linear": 4}, "name": "bias"}),
        ("weight_norm", {"layer": {"conv": {"out_channels": 4, "kernel_size": 3}}, "dim": 1}),
        ("weight_norm", {"layer": {"conv": {"out_channels": 1, "kernel_size": 3}}, "dim": 1}),
        ("weight_norm", {"layer": {"conv_transpose": {"out_channels": 4, "kernel_size": 3}}, "dim": 1}),
        ("spectral_norm", {"layer": {"linear": 4}, "name": "bias"}),
        ("weight_norm", {"layer": {"conv": {"out_channels": 4, "kernel_size": 3}}, "dim": 2}),
        ("weight_norm", {"layer": {"conv_transpose": {"out_channels": 4, "kernel_size": 3}}}),
        ("spectral_norm", {"layer": {"linear": 4}, "n_power_iterations": 3}),
        ("spectral_norm", {"layer": {"conv_transpose": {"out_channels": 4, "kernel_size": 3}}}),
    ],
)
def test_a_weight_that_is_worked_out_is_held_where_the_layer_reads_it(kind, options):
    layer, xs = LAYERS[kind].model_validate(options), [Shape((3, 9))]

    for needs_grad in [(0, OWN), (OWN,), (0,)]:
        agree(layer, xs, needs_grad)


@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_what_shows_the_memory_of_its_input_is_planned_as_a_view(kind):
    """Dropout that drops nothing too: torch hands on its input."""
    tensors = LAYERS[kind].example
    quiet = [{name: 0} for name in ("p", "std") if name in LAYERS[kind].model_fields and kind != "normalize"]
    for more in ({}, *quiet):
        layer, xs = (
            LAYERS[kind].model_validate({**tensors.options, **more}),
            tensors.shapes(),
        )
        batch = [batch_of(4, x, True) for x in xs]
        y = layer.module(*xs).train()(*batch)
        shows = y.untyped_storage().data_ptr() in {x.untyped_storage().data_ptr() for x in batch}
        assert shows == layer.plan(*xs).view, more


VARIANTS = [
    ("adaptive_avg_pool", {"output_size": 1}, [(3, 8, 8)]),
    ("adaptive_avg_pool", {"output_size": [1, 2]}, [(3, 8, 8)]),
    ("adaptive_max_pool", {"output_size": 2}, [(3, 30)]),
    ("add", {}, [(8, 5, 5), (8, 1, 1), (8, 5, 5)]),
    ("alpha_dropout", {"p": 0}, [(4, 5)]),
    ("avg_pool", {"kernel_size": 2}, [(3, 8, 8, 8)]),
    ("batch_norm", {"affine": False, "track_running_stats": False}, [(7,)]),
    ("concat", {"dim": 2}, [(8, 5), (8, 3), (8, 1)]),
    ("instance_norm", {"track_running_stats": True}, [(8, 5, 5)]),
    ("instance_norm", {"affine": True, "track_running_stats": True}, [(8, 5)]),
    ("stochastic_pool", {"kernel_size": 3, "stride": 2}, [(3, 9)]),
    ("stochastic_pool", {"kernel_size": [1, 2]}, [(3, 7, 7)]),
    ("conv", {"out_channels": 4, "kernel_size": 3, "padding": "same"}, [(3, 8, 8)]),
    ("conv", {"out_channels": 4, "kernel_size": 3, "padding": 1}, [(3, 8, 8, 8)]),
    ("conv", {"out_channels": 4, "kernel_size": 3, "padding": 1, "padding_mode": "reflect"}, [(3, 8, 8)]),
    ("conv", {"out_channels": 4, "kernel_size": 3, "padding": 1, "padding_mode": "replicate"}, [(3, 30)]),
    ("conv", {"out_channels": 4, "kernel_size": 3, "padding": 1, "padding_mode": "circular"}, [(3, 8, 9)]),
    ("dropout", {"p": 0}, [(4, 5, 5)]),
    ("dropout", {"p": 1}, [(4, 5, 5)]),
    ("flatten", {"start_dim": 2}, [(5, 4, 3)]),
    ("global_avg_pool", {"keepdim": True}, [(3, 30)]),
    ("global_max_pool", {}, [(3, 4, 4, 4)]),
    ("gru", {"hidden_size": 4, "num_layers": 2, "dropout": 0.5}, [(5, 3)]),
    ("linear", {"out_features": 3, "bias": False}, [(2, 3, 5)]),
    ("lp_pool", {"norm_type": 3, "kernel_size": 3, "ceil_mode": True}, [(3, 31)]),
    ("lstm", {"hidden_size": 4, "proj_size": 3, "bidirectional": True}, [(5, 3)]),
    ("lstm", {"hidden_size": 4, "return_sequences": False}, [(1, 3), (4,), (1, 4)]),
    ("max_pool", {"kernel_size": 3, "stride": 2, "dilation": 2}, [(3, 30)]),
    ("multiply", {}, [(8, 1, 1), (8, 1, 1), (8, 5, 5), (8, 5, 5)]),
    ("rnn", {"hidden_size": 4, "num_layers": 2, "nonlinearity": "sigmoid", "bias": "one"}, [(5, 3), (2, 4)]),
    ("rrelu", {"lower": 0.2, "upper": 0.2}, [(5,)]),
    ("softmax", {"dim": -1}, [(5, 4)]),
]


@pytest.mark.parametrize(("kind", "options", "inputs"), VARIANTS)
def test_options_and_other_shapes_change_what_is_planned_as_they_change_what_is_kept(kind, options, inputs):
    agree(LAYERS[kind].model_validate(options), [Shape(x) for x in inputs])


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize(
    ("kernel", "dilation", "x"), [(4, 1, (3, 8, 8)), ([4, 3], 1, (3, 8, 8)), (4, 3, (3, 30)), (2, 1, (3, 4, 4, 4))]
)
def test_padding_that_is_wider_on_one_side_is_a_copy_that_is_kept_instead_of_the_input(kernel, dilation, x):
    options = {"out_channels": 4, "kernel_size": kernel, "dilation": dilation, "padding": "same"}
    for kind in ("conv", "gated_conv", "separable_conv"):
        agree(LAYERS[kind].model_validate(options), [Shape(x)])
    agree(LAYERS["highway"].model_validate({"kernel_size": kernel}), [Shape(x), Shape(x)])


def test_the_indices_of_a_max_pool_by_hand():
    """8 channels of 6 by 6 maxima, and an int64 of 8 bytes for each."""
    layer, xs, _ = LAYERS["max_pool"].worked_example()
    assert planned(layer, xs) == SavedTensors(frozenset({0}), output=False, more=8 * 6 * 6 * 8, fixed=0)
