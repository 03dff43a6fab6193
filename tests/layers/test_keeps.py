"""What each layer says that torch keeps for the backward pass, against what torch keeps.

For the author of a layer: where this fails, set `Plan.keeps` and `Plan.keeps_more` to what the message tells.
"inputs" (all of them) and "output" stand for their values; `keeps_more` counts the bytes of a sample beside them: 4
for a float of a mask, of something computed inside, or of one input where the others are not kept; 8 for an index.
What stays the same for a larger batch is left out. What oneDNN holds of an LSTM depends on the processor: here it is
what torch's own kernel holds.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from dlx.layers import LAYERS
from dlx.layers.measured import DTYPES
from dlx.shapes import Shape


@dataclass(frozen=True)
class Kept:
    inputs: bool
    output: bool
    more: int

    def __str__(self) -> str:
        keeps = tuple(name for name in ("inputs", "output") if getattr(self, name))
        return f"keeps={keeps}, keeps_more={self.more}"


def batch_of(n, x, i, plan):
    if x.dtype != "float":
        return torch.zeros(n, *x, dtype=getattr(torch, DTYPES[x.dtype]))
    return torch.randn(n, *x).requires_grad_(i not in plan.blind)


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


def measured(layer, xs, n):
    """Whose memory is kept for the backward pass of `n` samples, and the bytes beside."""
    torch.manual_seed(0)
    module = layer.module(*xs).train()
    given = [batch_of(n, x, i, layer.plan(*xs)) for i, x in enumerate(xs)]
    kept = []
    with kernels_for(layer.kind), saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = module(*given)
    memory = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    of_inputs = {x.untyped_storage().data_ptr() for x in given}
    inputs = of_inputs <= memory.keys()
    memory = {at: size for at, size in memory.items() if not (inputs and at in of_inputs)}
    for own in (*module.parameters(), *module.buffers()):
        memory.pop(own.untyped_storage().data_ptr(), None)
    output = memory.pop(y.untyped_storage().data_ptr(), None)
    return inputs, output is not None, sum(memory.values())


def kept_by_torch(layer, xs):
    inputs, output, few = measured(layer, xs, 4)
    *_, many = measured(layer, xs, 8)
    return Kept(inputs, output, (many - few) // 4)


def planned(layer, xs):
    plan = layer.plan(*xs)
    return Kept("inputs" in plan.keeps, "output" in plan.keeps, plan.keeps_more)


def agree(layer, xs):
    plan, torchs = planned(layer, xs), kept_by_torch(layer, xs)
    told = ", ".join(f"{name}: {value}" for name, value in layer.options().items())
    assert plan == torchs, f"{layer.kind} {{{told}}} on {xs} plans {plan}, and torch has {torchs}: see {__name__}"


@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_a_layer_plans_what_torch_keeps_for_the_backward_pass(kind):
    layer, xs, _ = LAYERS[kind].worked_example()
    agree(layer, xs)


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
    assert planned(layer, xs) == Kept(inputs=True, output=False, more=8 * 6 * 6 * 8)
