"""The memory of a training step: by hand, and against what torch saves and allocates."""

import gc
import json

import pytest
import torch
from helpers import SHIPPED, WALK, experiment_of, graph_of, network_of
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile

from dlx import graph, network
from dlx.graph.memory_forecast import Forecast, MemoryBreakdown, forecast, of_training
from dlx.layers.measure import DTYPES
from dlx.optim import OPTIMIZERS
from dlx.spec import load

# --- by hand --------------------------------------------------------------------------------------------------------

TWO_LAYERS = "[{linear: 3}, relu, {linear: 2}]"


def small(layers: str, inputs: str = "[4]", more: str = ""):
    return graph_of(f"network: {{inputs: {inputs}, layers: {layers}}}\n{more}")


def test_two_layers_by_hand():
    """4 -> 3 -> relu -> 2 with 23 weights of 4 bytes, 10 samples.

    Saved: the batch, 10 * 4 values, and the output of the relu, 10 * 3, once for the relu and for the layer after it.
    The most is held where the relu hands its gradient on: 10 * 3 values arrive, 10 * 3 leave, and the 8 gradients of
    the second layer are there already.
    """
    predicted = forecast(small(TWO_LAYERS), batch=10)

    assert predicted.most == MemoryBreakdown(
        weights=4 * 23, gradients=4 * 23, activations=4 * (10 * 4 + 10 * 3), working=max(3 * 80, 2 * 120)
    )
    assert predicted.peak == MemoryBreakdown(weights=4 * 23, gradients=4 * 8, activations=4 * 70, working=2 * 120)
    assert (predicted.at, predicted.total) == ("backward of relu_1", 92 + 32 + 280 + 240)


@pytest.mark.parametrize(("state", "bytes_"), [(0, 0), (1, 92), (2, 184)])
def test_the_optimizer_holds_its_state_all_the_time(state, bytes_):
    without, predicted = forecast(small(TWO_LAYERS), 10), forecast(small(TWO_LAYERS), 10, state)

    assert predicted.peak.optimizer == predicted.most.optimizer == bytes_
    assert predicted.total == without.total + bytes_


def test_a_layer_with_many_weights_has_its_peak_at_the_end_of_the_backward_pass():
    """1000 * 1000 weights, their gradients, and one sample of 1000 values."""
    predicted = forecast(small("[{linear: {out_features: 1000, bias: false}}]", "[1000]"), 1, state=2)

    at_peak = MemoryBreakdown(
        weights=4_000_000, gradients=4_000_000, optimizer=8_000_000, activations=4000, working=4000
    )
    assert predicted.peak == at_peak
    assert predicted.at == "backward of linear_1"  # the gradient of the output is still there then


def test_a_view_and_its_base_are_saved_once():
    """The output of the relu is saved by itself, and by the linear layer as the flattened view: (2, 3, 3) of 5."""
    predicted = forecast(
        small("[{conv: {out_channels: 2, kernel_size: 1}}, relu, flatten, {linear: 1}]", "[1, 3, 3]"), 5
    )

    assert predicted.most.activations == 4 * 5 * (9 + 18)


def test_what_is_computed_inside_is_saved_beside_the_inputs():
    """max_pool saves its input, which is the relu's output, and an int64 for each of its 4 maxima."""
    predicted = forecast(small("[{conv: {out_channels: 1, kernel_size: 1}}, relu, {max_pool: 2}]", "[1, 4, 4]"), 7)

    assert predicted.most.activations == 7 * (4 * 16 + 4 * 16 + 8 * 4)


def test_what_no_gradient_reaches_is_not_saved():
    """With the first layer frozen only the input of the second is saved, and the batch, which is there anyway."""
    frozen = small("[{linear: 3}, sigmoid, {linear: 2}]", more="freeze: linear_1")

    predicted = forecast(frozen, 10)
    assert predicted.most.activations == 4 * 10 * (4 + 3)
    assert predicted.most.gradients == 4 * (3 * 2 + 2)
    assert predicted.most.weights == 4 * 23


def test_a_network_without_weights_saves_nothing():
    predicted = forecast(small("[sigmoid, tanh]"), 10)

    assert predicted.most == MemoryBreakdown(activations=4 * 40, working=3 * 4 * 40)


def test_a_branch_that_leads_nowhere_saves_nothing():
    start, end = "- linear: 3\n- sigmoid: {}\n  name: mid\n", "- linear: 2\n  from: mid"
    with_dead_end, without = network_of("[4]", f"{start}- linear: 9\n{end}"), network_of("[4]", start + end)

    assert forecast(with_dead_end, 10).most.activations == forecast(without, 10).most.activations


def test_shared_weights_have_one_gradient():
    shared = network_of("[4]", "- linear: 4\n  name: first\n- sigmoid\n- share: first")

    predicted = forecast(shared, 10)
    assert predicted.most.weights == predicted.most.gradients == 4 * 20


def test_tied_weights_have_one_gradient():
    tied = network_of("[4]", "- linear: {out_features: 3, bias: false}\n  name: coder\n- linear: 4\n  tie: coder")

    predicted = forecast(tied, 10)
    assert predicted.most.weights == predicted.most.gradients == 4 * (12 + 4)


def test_the_gradient_of_a_sum_serves_both_branches():
    """a + linear(a): while the linear layer runs backward, the 10 * 4 values that came serve the other branch too."""
    residual = """
        - linear: 4
        - sigmoid: {}
          name: a
        - linear: 4
        - add: {}
          from: [a, prev]
        - linear: 1
    """
    predicted = forecast(network_of("[4]", residual), 10)

    assert predicted.most.working == 4 * 10 * (4 + 4)  # what came, and what goes on; never a third


def test_the_gradient_of_a_concat_waits_for_the_skip_connection():
    """(1, 4) and (1, 4) joined: the slice for the skip holds all 8 values until it joins the other gradient."""
    layers = """
        - conv: {out_channels: 1, kernel_size: 1, bias: false}
        - tanh: {}
          name: skip
        - tanh
        - concat: {}
          from: [skip, prev]
        - global_avg_pool
    """
    predicted = forecast(network_of("[1, 4]", layers), 10)

    # backward of tanh_1: what was joined (8), what tanh_1 hands on (4), and both gradients of `skip` as a sum (4)
    assert predicted.peak == MemoryBreakdown(
        weights=4, activations=4 * 10 * (4 + 4 + 4), working=4 * 10 * (8 + 4 + 4)
    )
    assert predicted.at == "backward of tanh_1"


def test_a_convolution_works_on_copies():
    """The forward pass of the only layer: output, and copies of the input, output and weight."""
    predicted = forecast(small("[{conv: {out_channels: 2, kernel_size: 1, bias: false}}]", "[3, 5]"), 10)

    assert predicted.most.working == max(4 * (100 + 150 + 100 + 6), 3 * 4 * 100)


def test_twice_the_batch_takes_twice_the_activations_and_the_same_weights():
    resnet = graph.trace(load(SHIPPED["cs231n/resnet18"]))
    one, two = forecast(resnet, 8).most, forecast(resnet, 16).most

    assert two.activations == 2 * one.activations
    assert (two.weights, two.gradients, two.buffers) == (one.weights, one.gradients, one.buffers)


def test_the_document_has_each_part_at_its_largest_the_total_and_the_peak():
    predicted = forecast(small(TWO_LAYERS), 10, state=1).as_json()

    assert list(predicted) == [
        "batch", "weights", "gradients", "optimizer", "buffers", "activations", "working", "total", "peak",
    ]  # fmt: skip
    assert predicted["total"] == sum(v for k, v in predicted["peak"].items() if k != "at")


def test_the_optimizer_is_that_of_the_spec_or_plain_sgd():
    text = "data: digits\nnetwork: {layers: [flatten, {linear: 10}]}\n"
    adam = experiment_of(text + "train: {epochs: 1, optimizer: {adam: {amsgrad: true}}}")
    none = experiment_of(text)

    assert of_training(adam, graph.trace(adam), 8).most.optimizer == 3 * 4 * 650
    assert of_training(none, graph.trace(none), 8).most.optimizer == 0


@pytest.mark.parametrize(
    ("wrapped", "beside", "passing"),
    [
        ("weight_norm: {layer: {linear: {out_features: 300, bias: false}}}", 300, 1),
        ("spectral_norm: {layer: {linear: {out_features: 300, bias: false}}}", 300 + 200 + 1, 4),
        ("drop_connect: {layer: {linear: {out_features: 300, bias: false}}}", 300 * 200, 1),
    ],
)
def test_a_weight_that_is_worked_out_counts_once_more_whatever_the_batch(wrapped, beside, passing):
    """200 * 300 weights: what they are worked out to be, the lengths, vectors or mask beside, and its gradient.

    The gradient is there beside those of 2 * 300 results and of 2 * 200 values that came in.
    """
    layers = f"[{{linear: 200}}, {{{wrapped}}}]"
    plain = "[{linear: 200}, {linear: {out_features: 300, bias: false}}]"
    predicted, without = (forecast(small(each, "[3]"), 2) for each in (layers, plain))

    assert predicted.most.activations - without.most.activations == 4 * (300 * 200 + beside)
    assert predicted.most.working == 4 * (passing * 300 * 200 + 2 * 300 + 2 * 200)


def test_of_a_product_only_the_factor_is_saved_that_a_gradient_of_the_other_needs():
    """The input is multiplied by what is learned of another one: no gradient goes to the input."""
    layers = """
    - linear: {out_features: 6, bias: false}
      from: b
    - matmul:
      from: [a, prev]
    """
    graph = network_of("{a: [5, 4], b: [4, 7]}", layers)

    assert forecast(graph, 3).most.activations == 3 * 4 * (5 * 4 + 4 * 7)  # the batch alone


def test_dropout_that_drops_nothing_hands_its_input_on():
    layers = "[{linear: 5}, relu, {dropout: 0.0}, {linear: 2}]"

    assert forecast(small(layers), 3).most == forecast(small(layers.replace("{dropout: 0.0}, ", "")), 3).most


# --- against torch --------------------------------------------------------------------------------------------------


def samples(shapes, n):
    return [
        torch.randn(n, *x) if x.dtype == "float" else torch.zeros(n, *x, dtype=getattr(torch, DTYPES[x.dtype]))
        for x in shapes
    ]


def saved_by_torch(built: nn.Module, batch: list[torch.Tensor]) -> int:
    """Return the bytes that autograd saves for the backward pass: each storage once, without parameters."""
    saved = list(batch)
    with saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        built(*batch)
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in saved}
    learned = {p.untyped_storage()._cdata for p in built.parameters()}
    return sum(size for storage, size in storages.items() if storage not in learned)


VERY_DEEP = ("resnet1001", "resnet200", "resnet152", "resnet101", "densenet121")  # more of what the others have

COUNTED_TWICE = ("aima/lstm-half-open",)  # a state: as an input, and inside the layer
OF_THE_PROCESSOR = (
    "aima/recurrent-biases",
    "zoo/captioning",
)  # oneDNN's LSTM; tests/layers/test_saved_tensors.py looks at torch's
IN_SMALL = ("zoo/llama2-7b", "zoo/t5-small")  # below: too large for a processor
ON_CPU = (
    "cs231n/recurrent-topologies",
    "zoo/transformer-base",
    "zoo/vit_b_16",
    "aima/rnn",
    "mnist1d/gru",
    "mnist1d/gru-shuffled",
    "zoo/mixture-of-experts",
)
"""Attention and recurrent layers have other kernels on the meta device, and save more or less there; where the tokens
of a mixture of experts go depends on values, of which that device has none."""


@pytest.mark.parametrize(
    "name",
    [
        p
        for p in WALK
        if not p.values[0].endswith(VERY_DEEP) and p.values[0] not in COUNTED_TWICE + OF_THE_PROCESSOR + IN_SMALL
    ],
)
def test_activations_are_what_torch_saves_for_the_backward_pass(name):
    """On torch's meta device, which computes nothing; what a larger batch does not multiply is left out."""
    traced = graph.trace(load(SHIPPED[name]))
    with torch.device("cpu" if name in ON_CPU else "meta"):
        built = network.build(traced).train()
        small, large = (saved_by_torch(built, samples(traced.inputs.values(), n)) for n in (2, 4))

    assert forecast(traced, 2).most.activations == large - small


TINY = ["vars.depth=2", "vars.words=100", "~expect"]
ONCE = 2 * 2 * 2 * 8 * 16
"""Bytes in which T5 says that a query has no key: 2 layers in encoder and decoder, 2 samples, 8 heads, 16 tokens. Its
bias is one for the whole batch, so torch computes that once."""


@pytest.mark.parametrize(
    ("name", "changes", "over"),
    [
        ("zoo/llama2-7b", ["vars.context=16", "vars.width=64", "vars.heads=4", "vars.inside=96"], 0),
        ("zoo/t5-small", ["vars.tokens=16"], ONCE),
    ],
)
def test_activations_of_large_transformers_are_those_of_torch_in_small(name, changes, over):
    traced = graph.trace(load(SHIPPED[name], TINY + changes))
    built = network.build(traced).train()
    small, large = (saved_by_torch(built, samples(traced.inputs.values(), n)) for n in (2, 4))

    assert forecast(traced, 2).most.activations == large - small + over


LENET = SHIPPED["digits/lenet"].read_text()
RESNET = """
network:
  inputs: [3, 32, 32]
  layers:
    - conv: {out_channels: 16, kernel_size: 3, padding: 1, bias: false}
    - batch_norm
    - relu
    - for: {width: [16, 32, 64], stride: [1, 2, 2]}
      layers:
        - residual:
            layers:
              - conv: {out_channels: "${width}", kernel_size: 3, stride: "${stride}", padding: 1, bias: false}
              - batch_norm
              - relu
              - conv: {out_channels: "${width}", kernel_size: 3, padding: 1, bias: false}
              - batch_norm
            shortcut:
              - layers: [{conv: {out_channels: "${width}", kernel_size: 1, stride: "${stride}"}}, batch_norm]
                when: ${x.channels != width}
            after: relu
    - global_avg_pool
    - linear: 10
"""
UNET = """
network:
  inputs: [1, 64, 64]
  layers:
    - {conv: {out_channels: 16, kernel_size: 3, padding: 1}}
    - relu: {}
      name: skip
    - max_pool: 2
    - {conv: {out_channels: 32, kernel_size: 3, padding: 1}}
    - relu
    - conv_transpose: {out_channels: 16, kernel_size: 2, stride: 2}
    - concat: {}
      from: [skip, prev]
    - {conv: {out_channels: 16, kernel_size: 3, padding: 1}}
    - relu
    - conv: {out_channels: 2, kernel_size: 1}
"""
SKIPS = """
network:
  inputs: [100]
  layers:
    - linear: 200
    - relu: {}
      name: wide
    - dropout: 0.5
    - linear: 200
    - sigmoid
    - multiply: {}
      from: [wide, prev]
    - linear: 10
"""


WORKED_OUT = """
network:
  inputs: [16]
  layers:
    - linear: 600
    - relu
    - {}: {{layer: {{linear: 600}}}}
    - relu
    - linear: 10
"""


def allocated(traced: graph.Graph, batch: int, optimizer: str, trace_file) -> int:
    """Bytes that torch holds at the peak of two training steps, the network included, as its profiler has it."""
    gc.collect()  # what earlier tests have left must not go meanwhile
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        built = network.build(traced).train()
        update = OPTIMIZERS[optimizer]().build(built.parameters())
        x, shape = samples(traced.inputs.values(), batch), traced.output_shape()
        y = torch.zeros(batch, *shape.size, dtype=torch.long)
        for _ in range(2):
            update.zero_grad()
            nn.functional.cross_entropy(built(*x), y).backward()
            update.step()
    profiled.export_chrome_trace(str(trace_file))
    events = [e["args"] for e in json.loads(trace_file.read_text())["traceEvents"] if e["name"] == "[memory]"]
    before = events[0]["Total Allocated"] - events[0]["Bytes"]
    return max(e["Total Allocated"] for e in events) - before


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(
    "spec",
    [
        LENET,
        RESNET,
        UNET,
        SKIPS,
        *(WORKED_OUT.format(kind) for kind in ("weight_norm", "spectral_norm", "drop_connect")),
    ],
    ids=["lenet", "resnet", "unet", "skips", "weight_norm", "spectral_norm", "drop_connect"],
)
def test_the_total_is_what_torch_allocates(spec, optimizer, tmp_path):
    traced = graph_of(spec)
    predicted: Forecast = forecast(traced, 32, OPTIMIZERS[optimizer]().state)

    assert predicted.total == pytest.approx(allocated(traced, 32, optimizer, tmp_path / "trace.json"), rel=0.15)


def test_weights_gradients_buffers_and_state_are_torchs(tmp_path):
    traced = graph_of(RESNET)
    predicted = forecast(traced, 4, OPTIMIZERS["adam"]().state).most
    built = network.build(traced)
    update = OPTIMIZERS["adam"]().build(built.parameters())
    built(torch.randn(4, 3, 32, 32)).sum().backward()
    update.step()

    assert predicted.weights == sum(p.nbytes for p in built.parameters())
    assert predicted.gradients == sum(p.grad.nbytes for p in built.parameters())
    assert predicted.buffers == pytest.approx(sum(b.nbytes for b in built.buffers()), rel=0.02)  # counters are int64
    held = sum(v.nbytes for state in update.state.values() for v in state.values() if v.dim())
    assert predicted.optimizer == held
