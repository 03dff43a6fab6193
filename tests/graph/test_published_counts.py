"""Networks that the literature names come out with the numbers that were published for them, to the unit."""

import pytest
from helpers import SHIPPED

from dlx.graph import trace
from dlx.spec import load

# At 224x224 with 1,000 classes. Parameters are those of torchvision's weights metadata, MACs those of its `_ops`
# (convolutions, linear layers, matrix products). The receptive field is that of the last feature map: size, stride
# and left padding, by window arithmetic (google-research/receptive_field has the method) and by which pixels receive
# gradient. GoogLeNet is without its auxiliary heads.
PUBLISHED = [
    # model, params, buffers, MACs, receptive field
    ("alexnet", 61_100_840, 0, 714_188_480, (195, 32, 66)),
    ("vgg11", 132_863_336, 0, 7_609_090_048, (150, 32, 59)),
    ("vgg13", 133_047_848, 0, 11_308_466_176, (156, 32, 62)),
    ("vgg16", 138_357_544, 0, 15_470_264_320, (212, 32, 90)),
    ("vgg19", 143_667_240, 0, 19_632_062_464, (268, 32, 118)),
    ("googlenet", 6_624_904, None, 1_498_376_192, (379, 32, 167)),
    ("resnet18", 11_689_512, 9_620, 1_814_073_344, (435, 32, 217)),
    ("resnet34", 21_797_672, 17_060, 3_663_761_408, (899, 32, 449)),
    ("resnet50", 25_557_032, 53_173, 4_089_184_256, (427, 32, 213)),
    ("resnet101", 44_549_160, 105_448, 7_801_405_440, (971, 32, 485)),
    ("resnet152", 60_192_808, 151_579, 11_513_626_624, (1451, 32, 725)),
    ("resnext50_32x4d", 25_028_904, 68_277, 4_230_479_872, None),
    ("wide_resnet50_2", 68_883_240, 68_277, 11_398_021_120, None),
    ("squeezenet1_0", 1_248_424, 0, 818_924_576, (155, 16, 60)),
    ("densenet121", 7_978_856, 83_769, 2_834_161_664, (2071, 32, 1021)),
]


@pytest.mark.parametrize(
    ("model", "params", "buffers", "macs", "field"), PUBLISHED, ids=[row[0] for row in PUBLISHED]
)
def test_a_network_of_the_literature_has_the_published_counts(model, params, buffers, macs, field):
    graph = trace(load(SHIPPED[f"cs231n/{model}"]))

    assert (graph.params, graph.macs) == (params, macs)
    assert buffers is None or graph.buffers == buffers
    if field is not None:
        size, stride, left_padding = ([n, n] for n in field)
        start = [-n for n in left_padding]
        assert graph.as_json()["receptive_field"] == {"size": size, "stride": stride, "start": start}


def test_googlenet_keeps_a_mean_a_variance_and_a_counter_for_each_normalisation():
    graph = trace(load(SHIPPED["cs231n/googlenet"]))
    norms = [node for node in graph.nodes if node.kind == "batch_norm"]

    assert len(norms) == 3 + 9 * 6
    assert graph.buffers == sum(2 * node.shape.channels + 1 for node in norms)


def test_resnet50_with_the_stride_on_the_first_1x1_is_the_paper_s():
    changes = [
        "blocks.bottleneck.layers.0.residual.layers.0.conv.stride='${stride}'",
        "blocks.bottleneck.layers.0.residual.layers.3.conv.stride=1",
    ]
    graph = trace(load(SHIPPED["cs231n/resnet50"], changes))
    saved = 256 * 128 * (56**2 - 28**2) + 512 * 256 * (28**2 - 14**2) + 1024 * 512 * (14**2 - 7**2)  # first 1x1s

    assert (graph.params, graph.macs) == (25_557_032, 4_089_184_256 - saved)
    assert graph.as_json()["receptive_field"]["size"] == [483, 483]


def test_torchvision_s_alexnet_is_not_the_textbook_s():
    """96 filters and one tower: 62,378,344 parameters."""
    changes = [
        "network.layers.conv_1.out_channels=96",
        "network.layers.conv_1.padding=0",
        "network.layers.conv_2.out_channels=256",
        "network.layers.6.for.width=[384,384,256]",
        "network.inputs.image=[3,227,227]",
    ]
    assert trace(load(SHIPPED["cs231n/alexnet"], changes)).params == 62_378_344
