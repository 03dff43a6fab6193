"""dlx gives the figures of other tools to the unit, and each step on the way there."""

import pytest
import torch
import torchinfo
from helpers import SHIPPED, WALK, graph_of, network_of

from dlx.errors import NOWHERE, DlxError
from dlx.graph import Counted, Graph, LayerNode, counted_as, trace
from dlx.graph.comparison.conventions import CONVENTIONS, TORCHINFO
from dlx.layers import LAYERS
from dlx.layers.measure import DTYPES
from dlx.network import build
from dlx.spec import load


def as_counted(tool: str, name: str, *changes: str) -> Counted:
    return counted_as(tool, trace(load(SHIPPED[name], list(changes))).nodes)


def figures(counted: Counted) -> dict[str, int]:
    return {bridge.figure.of: bridge.theirs for bridge in counted.bridges}


def formatted(counted: Counted, of: str) -> str:
    return next(b.figure.format(b.theirs) for b in counted.bridges if b.figure.of == of)


def steps(counted: Counted, of: str) -> dict[str, int]:
    return next(dict(bridge.steps) for bridge in counted.bridges if bridge.figure.of == of)


def example_of(kind: str) -> LayerNode:
    layer, xs, _ = LAYERS[kind].worked_example()
    return LayerNode(kind, kind, layer, ("x",) * len(xs), tuple(xs), layer.plan(*xs), {}, NOWHERE)


@pytest.mark.parametrize("name", WALK)
def test_every_tool_counts_every_shipped_network_and_the_bridges_add_up(name):
    graph = trace(load(SHIPPED[name]))
    for tool in CONVENTIONS:
        document = counted_as(tool, graph.nodes).as_json()
        assert document["params"] >= graph.params
        for bridge in document["bridge"]:
            assert bridge["ours"] + sum(term["count"] for term in bridge["terms"]) == bridge["theirs"]
            assert all(term["count"] for term in bridge["terms"])
            assert bridge["ours"] == {"params": graph.params, "macs": graph.macs}.get(bridge["of"], bridge["ours"])


# torchvision 0.28.0: `num_params` and `_ops` of the metadata of the first weights.
TORCHVISION = [
    ("alexnet", 61_100_840, 0.714),
    ("vgg11", 132_863_336, 7.609),
    ("vgg13", 133_047_848, 11.308),
    ("vgg16", 138_357_544, 15.47),
    ("vgg19", 143_667_240, 19.632),
    ("googlenet", 6_624_904, 1.498),
    ("resnet18", 11_689_512, 1.814),
    ("resnet34", 21_797_672, 3.664),
    ("resnet50", 25_557_032, 4.089),
    ("resnet101", 44_549_160, 7.801),
    ("resnet152", 60_192_808, 11.514),
    ("resnext50_32x4d", 25_028_904, 4.23),
    ("wide_resnet50_2", 68_883_240, 11.398),
    ("squeezenet1_0", 1_248_424, 0.819),
    ("densenet121", 7_978_856, 2.834),
]


@pytest.mark.parametrize(("model", "params", "ops"), TORCHVISION, ids=[row[0] for row in TORCHVISION])
def test_torchvision_s_metadata(model, params, ops):
    counted = as_counted("torchvision", f"cs231n/{model}")

    assert counted.figure("params") == params
    assert formatted(counted, "macs") == f"{ops:.3f} GFLOPS"


# Keras 3.15.1: count_params() of keras.applications, built without weights. Its DenseNet and VGG are ours.
@pytest.mark.parametrize(
    ("model", "total", "moving"),
    [("densenet121", 8_062_504, 83_648), ("vgg16", 138_357_544, 0), ("vgg19", 143_667_240, 0)],
)
def test_keras_counts_moving_statistics_as_parameters(model, total, moving):
    counted = as_counted("keras", f"cs231n/{model}")

    assert counted.figure("params") == total
    assert sum(steps(counted, "params").values()) == moving
    assert counted.figure("macs") is None
    assert "Keras counts no multiply-adds." in counted.remarks


def test_keras_s_resnet50_has_biases_which_make_it_another_network():
    """25,636,712 = 25,557,032 + 26,560 biases + 53,120 moving statistics."""
    counted = as_counted("keras", "cs231n/resnet50")
    assert counted.figure("params") == 25_557_032 + 53_120
    assert counted.remarks[1] == (
        "53 convolutions stand without a bias here. Keras adds one unless told otherwise, as in its ResNets but not "
        "in its DenseNets: another network, of 26,560 parameters more, 25,636,712 in all."
    )

    biased = SHIPPED["cs231n/resnet50"].read_text().replace("bias: false", "bias: true")
    same = counted_as("keras", graph_of(biased).nodes)
    assert same.figure("params") == 25_636_712
    assert len(same.remarks) == 1


# timm 1.0.31's own networks of these names, counted by fvcore 0.1.5 as timm's benchmark does; the rounded figures are
# those of timm's results (results/benchmark-infer-amp-nchw-pt113-cu117-rtx3090.csv) where it lists the network.
TIMM = [
    # model, GMACs to the unit, activations, as published
    ("resnet18", 1_819_065_856, 2_484_712, ("1.82", "2.48", "11.69")),
    ("resnet34", 3_671_262_720, 3_739_112, ("3.67", "3.74", "21.80")),
    ("resnet50", 4_111_512_576, 11_114_984, ("4.11", "11.11", "25.56")),
    ("resnet101", 7_833_969_664, 16_232_936, ("7.83", "16.23", "44.55")),
    ("resnet152", 11_558_835_200, 22_555_112, None),
    ("resnext50_32x4d", 4_259_381_248, 14_401_512, ("4.26", "14.40", "25.03")),
    ("wide_resnet50_2", 11_426_922_496, 14_401_512, None),
    ("densenet121", 2_865_546_752, 6_900_200, ("2.87", "6.90", "7.98")),
]


@pytest.mark.parametrize(("model", "macs", "activations", "published"), TIMM, ids=[row[0] for row in TIMM])
def test_timm_s_figures(model, macs, activations, published):
    counted = as_counted("timm", f"cs231n/{model}")

    assert (counted.figure("macs"), counted.figure("memory")) == (macs, activations)
    if published:
        gmacs, millions, params = published
        assert formatted(counted, "macs") == f"{gmacs} GMACs"
        assert (formatted(counted, "memory"), formatted(counted, "params")) == (f"{millions} M", f"{params} M")


def test_timm_s_resnet50_is_products_and_batch_norm_and_pooling():
    counted = as_counted("timm", "cs231n/resnet50")

    assert steps(counted, "macs") == {
        "batch norm: 2 a value, 1 without scale and shift": 2 * (11_114_984 - 1000),  # each convolution has one
        "average pooling to a size: 1 a value that comes in": 2048 * 7 * 7,
    }


# fvcore 0.1.5 on torch's layers, in evaluation.
@pytest.mark.parametrize(
    ("shape", "layer", "count", "activations"),
    [
        ((8, 5, 5), "batch_norm", 2 * 200, 0),
        ((8, 5, 5), "batch_norm: {affine: false}", 200, 0),
        ((8, 5, 5), "batch_norm: {track_running_stats: false}", 5 * 200, 0),
        ((8, 5, 5), "batch_norm: {track_running_stats: false, affine: false}", 4 * 200, 0),
        ((8, 5), "batch_norm", 2 * 40, 0),
        ((8, 5, 5), "adaptive_avg_pool: 2", 200, 0),
        ((8, 5), "adaptive_avg_pool: 2", 0, 0),
        ((8, 5, 5, 5), "adaptive_avg_pool: 2", 0, 0),
        ((8, 5, 5), "layer_norm", 5 * 200, 0),
        ((8, 5, 5), "group_norm: 2", 5 * 200, 0),
        ((8, 5, 5), "group_norm: {num_groups: 2, affine: false}", 4 * 200, 0),
        ((8, 5, 5), "instance_norm: {affine: true}", 5 * 200, 0),
        ((8, 5, 5), "instance_norm: {affine: false}", 4 * 200, 0),
        ((8, 5, 5), "upsample: {scale_factor: 2}", 800, 0),
        ((8, 5, 5), "upsample: {scale_factor: 2, mode: bilinear}", 3200, 0),
        ((8, 5), "upsample: {scale_factor: 2}", 0, 0),
        ((8, 5, 5), "conv_transpose: {out_channels: 4, kernel_size: 3}", 7200, 196),
        ((8, 5), "linear: 3", 120, 24),
        ((8, 5, 5), "conv: {out_channels: 4, kernel_size: 3}", 4 * 72 * 9, 36),
    ],
)
def test_what_fvcore_counts_of_a_layer(shape, layer, count, activations):
    graph = network_of(str(list(shape)), f"- {layer}")
    counted = counted_as("timm", graph.nodes)

    assert (counted.figure("macs"), counted.figure("memory")) == (count, activations)


DARKNET53 = """
    vars: {head: true}
    blocks:
      unit:
        args: {width: null, kernel: 1, stride: 1}
        layers:
          - conv:
              {out_channels: "${width}", kernel_size: "${kernel}", stride: "${stride}",
               padding: "${kernel // 2}", bias: false}
          - batch_norm
          - leaky_relu: 0.1
    network:
      inputs: [3, 256, 256]
      layers:
        - unit: {width: 32, kernel: 3}
        - for: {width: [64, 128, 256, 512, 1024], times: [1, 2, 8, 8, 4]}
          layers:
            - unit: {width: "${width}", kernel: 3, stride: 2}
            - repeat:
                times: ${times}
                layers:
                  - residual:
                      layers:
                        - unit: "${width // 2}"
                        - unit: {width: "${width}", kernel: 3}
        - layers:
            - global_avg_pool: {keepdim: true}
            - conv: {out_channels: 1000, kernel_size: 1}
          when: ${head}
    """
DARKNET19 = """
    blocks:
      unit:
        args: {width: null, kernel: 1}
        layers:
          - conv: {out_channels: "${width}", kernel_size: "${kernel}", padding: "${kernel // 2}", bias: false}
          - batch_norm
          - leaky_relu: 0.1
    network:
      inputs: [3, 256, 256]
      layers:
        - unit: {width: 32, kernel: 3}
        - for: {width: [64, 128, 256, 512, 1024], pairs: [0, 1, 1, 2, 2]}
          layers:
            - max_pool: 2
            - unit: {width: "${width}", kernel: 3}
            - repeat:
                times: ${pairs}
                layers:
                  - unit: "${width // 2}"
                  - unit: {width: "${width}", kernel: 3}
        - conv: {out_channels: 1000, kernel_size: 1}
        - global_avg_pool
    """


@pytest.mark.parametrize(("text", "bflops"), [(DARKNET19, "7.29"), (DARKNET53, "18.57")], ids=["19", "53"])
def test_darknet_s_published_operations(text, bflops):
    """Bn ops at 256x256: pjreddie.com/darknet/imagenet."""
    operations = counted_as("darknet", graph_of(text).nodes).figure("macs")

    assert operations is not None
    assert f"{operations / 1e9:.2f}" == bflops


def test_darknet19_at_224_is_5_58_billion_operations():
    """Redmon & Farhadi 2016, arXiv:1612.08242, section 3."""
    graph = graph_of(DARKNET19.replace("256, 256]\n      layers", "224, 224]\n      layers"))
    assert formatted(counted_as("darknet", graph.nodes), "macs").startswith("5.58")


@pytest.mark.parametrize(
    ("model", "changes", "bflops"),
    [
        ("vgg16", [], "30.94"),
        (
            "alexnet",  # of one tower, with 96 filters
            [
                "network.layers.conv_1.out_channels=96",
                "network.layers.conv_1.padding=0",
                "network.layers.conv_2.out_channels=256",
                "network.layers.6.for.width=[384,384,256]",
                "network.inputs.image=[3,227,227]",
            ],
            "2.27",
        ),
    ],
)
def test_darknet_s_table_has_networks_of_others_too(model, changes, bflops):
    operations = as_counted("darknet", f"cs231n/{model}", *changes).figure("macs")

    assert operations is not None
    assert f"{operations / 1e9:.2f}" == bflops


def test_a_file_of_darknet_holds_rolling_statistics_and_a_header():
    """darknet53.conv.74, the convolutions of Darknet-53 without its classifier, is 162,482,580 bytes long."""
    graph = graph_of(DARKNET53.replace("head: true", "head: false"))
    counted = counted_as("darknet", graph.nodes)

    assert formatted(counted, "params") == "162,482,580 bytes with its header of 20"
    assert steps(counted, "params") == {
        "rolling mean and variance of batch norm": 2 * sum(n.shape[0] for n in graph.nodes if n.kind == "conv")
    }


def by_torchinfo(graph: Graph) -> tuple[int, int, int]:
    with torch.device("meta"):
        inputs = [torch.zeros(1, *x, dtype=getattr(torch, DTYPES[x.dtype])) for x in graph.inputs.values()]
        return _summed(build(graph), inputs)


def _summed(module: torch.nn.Module, inputs: list[torch.Tensor]) -> tuple[int, int, int]:
    summary = torchinfo.summary(module.eval(), input_data=inputs, verbose=0)
    return summary.total_params, summary.total_mult_adds, summary.total_output_bytes


@pytest.mark.parametrize("name", WALK)
def test_torchinfo_says_the_same_of_every_shipped_network_or_dlx_names_what_was_not_checked(name):
    graph = trace(load(SHIPPED[name]))
    counted = counted_as("torchinfo", graph.nodes)
    if counted.remarks:
        assert any(f"`{node.kind}`" in remark for node in graph.nodes for remark in counted.remarks)
    else:
        assert tuple(figures(counted).values()) == by_torchinfo(graph)


@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_torchinfo_says_the_same_of_every_layer_that_it_was_checked_for(kind):
    node = example_of(kind)
    counted = counted_as("torchinfo", [node])
    if counted.remarks:
        assert counted.remarks == (f"How torchinfo counts `{kind}` was not checked: dlx's own figures stand for it.",)
        assert kind not in (TORCHINFO.knows or ())
        return
    inputs = [torch.zeros(1, *x, dtype=getattr(torch, DTYPES[x.dtype])) for x in node.arriving]
    assert tuple(figures(counted).values()) == _summed(node.layer.module(*node.arriving), inputs)


@pytest.mark.parametrize(
    ("inputs", "layers"),
    [
        ("[4, 8]", "- linear: {out_features: 8, bias: false}\n- linear: 3"),  # at 4 places, counted once
        ("[8]", "- linear: 8\n  name: one\n- relu\n- share: one\n- linear: 8\n  tie: one"),
        ("[8]", "- linear: 6\n  name: one\n- linear: {out_features: 8, bias: false}\n  tie: one"),
        ("[4, 6, 6]", "- conv: {out_channels: 4, kernel_size: 3, padding: 1}\n  name: one\n- relu\n- share: one"),
        ("[4, 6, 6]", "- batch_norm:\n  name: one\n- relu\n- share: one\n- prelu: 4"),
        ("[4, 9]", "- conv: {out_channels: 6, kernel_size: 3, groups: 2}\n- flatten\n- reshape: [1, -1]"),
    ],
    ids=["places", "shared", "tied", "shared conv", "shared norm", "groups"],
)
def test_torchinfo_says_the_same_of_weights_that_run_more_than_once(inputs, layers):
    graph = network_of(inputs, layers)
    assert tuple(figures(counted_as("torchinfo", graph.nodes)).values()) == by_torchinfo(graph)


def test_a_layer_that_was_not_compared_with_the_tool_is_named():
    node = example_of("prelu")  # Keras has a slope for each position, where torch has one for each channel
    (_, sentence) = counted_as("keras", [node, node]).remarks
    assert sentence == "How keras counts `prelu` was not checked: dlx's own figures stand for it."


def test_an_unknown_tool_is_refused_with_those_that_are_known():
    with pytest.raises(DlxError) as caught:
        counted_as("pytorch", [])
    (problem,) = caught.value.problems
    assert problem.message == "dlx does not know how `pytorch` counts"
    assert problem.hint == "It knows `torchvision`, `keras`, `timm`, `darknet` and `torchinfo`."


@pytest.mark.parametrize(("kind", "counted"), [("lstm", 16_640), ("gru", 12_480), ("rnn", 4_160)])
def test_torchinfo_takes_weights_and_biases_of_a_recurrent_layer_at_each_step(kind, counted):
    """Of torch's own layer, 16 on 10 steps of 8: gates * (16 * 8 + 16 * 16 + 2 * 16), ten times."""
    graph = network_of("[10, 8]", f"- {kind}: 16")
    made = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[kind](8, 16, batch_first=True)
    by_torchinfo = torchinfo.summary(made, input_data=torch.zeros(1, 10, 8), verbose=0).total_mult_adds

    assert figures(counted_as("torchinfo", graph.nodes))["macs"] == by_torchinfo == counted
    assert steps(counted_as("timm", graph.nodes), "macs") == {
        "recurrent layers, which fvcore does not know: nothing": -graph.macs
    }
    assert not any("not checked" in remark for remark in counted_as("keras", graph.nodes).remarks)


def test_of_tied_weights_torchinfo_counts_more_in_a_model_that_holds_them_twice():
    layers = """
    - {embedding: {num_embeddings: 20, embedding_dim: 8}, name: words}
    - linear: {out_features: 20, bias: false}
      tie: words
    """
    graph = network_of("{text: {shape: [5], dtype: int}}", layers)

    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = torch.nn.Embedding(20, 8), torch.nn.Linear(8, 20, bias=False)
            self.head.weight = self.words.weight

        def forward(self, x):
            return self.head(self.words(x))

    summary = torchinfo.summary(Tied(), input_data=torch.zeros(1, 5, dtype=torch.long), verbose=0)

    assert (figures(counted_as("torchinfo", graph.nodes))["params"], summary.total_params) == (160, 320)
    (remark,) = counted_as("torchinfo", graph.nodes).remarks
    assert remark.startswith("`linear_1` runs the weight of another layer and has none here.")
    assert "counts it in each of them" in remark


def test_keras_has_one_bias_where_torch_has_two():
    """Keras 3: LSTM(16) on 8 values has 4 * (16 * 8 + 16 * 16 + 16) = 1,600 parameters, as `bias: one` has."""
    two, one = (network_of("[10, 8]", f"- lstm: {{hidden_size: 16, bias: {bias}}}") for bias in ("true", "one"))

    assert figures(counted_as("keras", one.nodes))["params"] == 1600
    assert any("64 parameters fewer" in remark for remark in counted_as("keras", two.nodes).remarks)
    assert not any("bias" in remark for remark in counted_as("keras", one.nodes).remarks)
