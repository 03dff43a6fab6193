"""Embeddings, attention and tied heads: torch's own layers and formulas, and networks of known size."""

import pytest
import torch
import torch.nn.functional as F
from helpers import network_of
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dlx.errors import ShapeError, SpecError
from dlx.init.he import HeNormal
from dlx.layers import LAYERS
from dlx.network import build
from dlx.shapes import Shape


def counted(module, *inputs):
    """The MACs of one sample on the meta device, where torch counts fused attention too."""
    with FlopCounterMode(display=False) as flops:
        module.to("meta")(*(torch.empty(1, *x, device="meta") for x in inputs))
    return flops.get_total_flops() // 2


# --- embeddings -----------------------------------------------------------------------------------------------------


def test_one_hot_puts_the_classes_last_or_where_channels_are():
    labels = torch.tensor([[[0, 2], [1, 1]]])
    last, first = LAYERS["one_hot"](num_classes=3), LAYERS["one_hot"](num_classes=3, dim=1)
    x = Shape((2, 2), "int")

    assert last.plan(x).shape == (2, 2, 3)
    assert last.module(x)(labels).tolist() == [[[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 1, 0]]]]
    assert first.plan(x).shape == first.module(x)(labels).shape[1:] == (3, 2, 2)
    assert first.module(x)(labels)[0, 2].tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize("label", [3, -1])
def test_one_hot_refuses_a_number_that_is_no_class(label):
    module = LAYERS["one_hot"](num_classes=3).module(Shape((2,), "int"))
    with pytest.raises(RuntimeError, match="out of bounds"):
        module(torch.tensor([[0, label]]))


def test_an_embedding_is_a_linear_layer_on_one_hot_vectors():
    """Russell & Norvig 2021, section 24.1: the rows of the first weight are the word vectors."""
    table = LAYERS["embedding"](num_embeddings=5, embedding_dim=3).module(Shape((4,), "int"))
    tokens = torch.tensor([[0, 4, 4, 2]])
    rows = LAYERS["one_hot"](num_classes=5).module(Shape((4,), "int"))(tokens)

    torch.testing.assert_close(table(tokens), rows @ table.weight)


def test_to_float_keeps_the_values():
    layer = LAYERS["to_float"]()

    assert layer.plan(Shape((3,), "bool")).shape.dtype == "float"
    assert layer.module(Shape((3,), "int"))(torch.tensor([[1, 0, 7]])).tolist() == [[1.0, 0.0, 7.0]]


def test_the_padding_row_stays_zero_whatever_the_init():
    layers = "- embedding: {num_embeddings: 6, embedding_dim: 4, padding_idx: 0}"
    network = build(network_of("{tokens: {shape: [3], dtype: int}}", layers), HeNormal())
    network(torch.tensor([[0, 1, 2]])).sum().backward()

    assert not network.embedding_1.weight[0].any()
    assert network.embedding_1.weight[1].any()
    assert not network.embedding_1.weight.grad[0].any()


# --- attention ------------------------------------------------------------------------------------------------------


def test_attention_is_the_formula_of_the_paper():
    q, k, v = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 6)
    xs = [Shape(x.shape[1:]) for x in (q, k, v)]
    layer = LAYERS["scaled_dot_product_attention"]()
    by_hand = (q @ k.transpose(-1, -2) / 8**0.5).softmax(-1) @ v

    torch.testing.assert_close(layer.module(*xs)(q, k, v), by_hand)
    assert layer.plan(*xs).macs == counted(layer.module(*xs), *xs) == 3 * 5 * 7 * (8 + 6)


@pytest.mark.parametrize("axes", [(6, 8), (3, 6, 8), (2, 3, 6, 8)])
def test_attention_takes_any_axes_before_the_tokens(axes):
    x = torch.randn(2, *axes)
    layer, shape = LAYERS["scaled_dot_product_attention"](is_causal=True, scale=0.5), Shape(axes)

    y = layer.module(shape, shape, shape)(x, x, x)

    torch.testing.assert_close(y, F.scaled_dot_product_attention(x, x, x, is_causal=True, scale=0.5))
    assert y.shape[1:] == layer.plan(shape, shape, shape).shape


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"is_causal": True}])
def test_multihead_attention_is_torch_s(options):
    x = torch.randn(2, 5, 12)
    layer = LAYERS["multihead_attention"](num_heads=3, **options)
    ours = layer.module(Shape((5, 12)))
    theirs = nn.MultiheadAttention(12, 3, bias=options.get("bias", True), batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    mask = nn.Transformer.generate_square_subsequent_mask(5) if options.get("is_causal") else None

    torch.testing.assert_close(ours(x), theirs(x, x, x, attn_mask=mask, need_weights=False)[0])
    assert layer.plan(Shape((5, 12))).macs == counted(ours, (5, 12)) == 4 * 5 * 144 + 2 * 25 * 12


@pytest.mark.parametrize(
    ("shapes", "weights"),
    [
        ([(5, 12), (7, 12)], {"in_proj_weight": (36, 12)}),
        (
            [(5, 12), (7, 10)],
            {"q_proj_weight": (12, 12), "k_proj_weight": (12, 10), "v_proj_weight": (12, 10)},
        ),
        (
            [(5, 12), (7, 10), (7, 8)],
            {"q_proj_weight": (12, 12), "k_proj_weight": (12, 10), "v_proj_weight": (12, 8)},
        ),
    ],
)
def test_cross_attention_is_torch_s(shapes, weights):
    xs, tensors = [Shape(x) for x in shapes], [torch.randn(2, *x) for x in shapes]
    layer = LAYERS["multihead_attention"](num_heads=3)
    plan, ours = layer.plan(*xs), layer.module(*xs)
    q, k, v = tensors[0], tensors[1], tensors[-1]
    theirs = nn.MultiheadAttention(12, 3, kdim=k.shape[-1], vdim=v.shape[-1], batch_first=True)
    theirs.load_state_dict(ours.state_dict())

    torch.testing.assert_close(ours(*tensors), theirs(q, k, v, need_weights=False)[0])
    assert plan.weights.items() >= weights.items()
    assert dict(plan.weights) == {name: tuple(p.shape) for name, p in ours.named_parameters()}
    assert plan.macs == counted(ours, *xs)


def test_windows_attend_by_themselves():
    x = torch.randn(2, 3, 5, 12)
    layer, shape = LAYERS["multihead_attention"](num_heads=3), Shape((3, 5, 12))
    module = layer.module(shape)

    torch.testing.assert_close(module(x)[:, 1], module(x[:, 1]))
    assert layer.plan(shape).macs == 3 * layer.plan(Shape((5, 12))).macs


def test_the_dropout_of_attention_rests_in_evaluation():
    x = torch.randn(2, 5, 12)
    for layer, n in (
        (LAYERS["multihead_attention"](num_heads=3, dropout=0.5), 1),
        (LAYERS["scaled_dot_product_attention"](dropout_p=0.5), 3),
    ):
        module = layer.module(*[Shape((5, 12))] * n)

        assert not torch.equal(module(*[x] * n), module(*[x] * n))
        module.eval()
        assert torch.equal(module(*[x] * n), module(*[x] * n))


def test_a_linear_layer_works_on_each_token():
    x = torch.randn(2, 5, 12)
    linear = LAYERS["linear"](out_features=7).module(Shape((5, 12)))

    torch.testing.assert_close(linear(x)[:, 3], linear(x[:, 3]))


INTEGERS_OF_DATA = "`arrays` and `table` give integers by `inputs: {NAME: {..., is: integers}}`."
REFUSED = [
    (
        ("embedding", {"num_embeddings": 9, "embedding_dim": 4}, [Shape((7,))]),
        "embedding looks numbers up, and (7,) holds values of dtype float",
        "Token numbers are declared as `{shape: [7], dtype: int}` under `inputs`; " + INTEGERS_OF_DATA,
    ),
    (
        ("embedding", {"num_embeddings": 9, "embedding_dim": 4, "padding_idx": 9}, [Shape((7,), "int")]),
        "embedding has padding_idx = 9, and its table has 9 rows",
        "Name one of 0 to 8, or make room: `num_embeddings: 10`.",
    ),
    (
        ("one_hot", {"num_classes": 9}, [Shape((7,), "bool")]),
        "one_hot looks numbers up, and (7,) holds values of dtype bool",
        "Class numbers are declared as `{shape: [7], dtype: int}` under `inputs`; " + INTEGERS_OF_DATA,
    ),
    (
        ("one_hot", {"num_classes": 9, "dim": 3}, [Shape((7,), "int")]),
        "one_hot has dim = 3, and its output for (7,) has the axes 1 to 2",
        "1 puts the classes where channels are, -1 at the end; the batch is axis 0.",
    ),
    (
        ("scaled_dot_product_attention", {}, [Shape((5, 8)), Shape((5, 6)), Shape((5, 8))]),
        "attention multiplies queries of 8 values, (5, 8), by keys of 6, (5, 6)",
        "Make the last axis of both the same.",
    ),
    (
        ("scaled_dot_product_attention", {}, [Shape((5, 8)), Shape((5, 8)), Shape((4, 8))]),
        "attention weighs 4 values, (4, 8), by the match of 5 keys, (5, 8)",
        "Keys and values come in pairs: give both as many tokens.",
    ),
    (
        ("scaled_dot_product_attention", {}, [Shape((2, 5, 8)), Shape((5, 8)), Shape((5, 8))]),
        "attention wants queries, keys and values of (heads, tokens, values), not (2, 5, 8), (5, 8) and (5, 8)",
        "They need as many axes and heads; `- reshape` and `- permute` bring them there.",
    ),
    (
        ("multihead_attention", {"num_heads": 5}, [Shape((7, 12))]),
        "the 12 values of a token in (7, 12) do not split into num_heads = 5",
        "Pick a divisor of 12, or make the values a multiple of 5.",
    ),
    (
        ("multihead_attention", {"num_heads": 3}, [Shape((12,))]),
        "multihead_attention wants tokens of (T, D), and as many keys as values, not (12,)",
        "`- transpose` makes tokens of (D, T); an image is first flattened with `start_dim: 2`.",
    ),
    (
        ("multihead_attention", {"num_heads": 3}, [Shape((7, 12)), Shape((5, 12)), Shape((4, 12))]),
        "multihead_attention wants tokens of (T, D), and as many keys as values, not (7, 12), (5, 12) and (4, 12)",
        "`- transpose` makes tokens of (D, T); an image is first flattened with `start_dim: 2`.",
    ),
    (
        ("relative_position_bias", {"window_size": [2, 3]}, [Shape((2, 5, 5))]),
        "relative_position_bias wants the scores of 6 places for 6, as a window of 2x3 has, not (2, 5, 5)",
        "Their axes are (windows, heads, 6, 6): `- matmul` of queries and transposed keys.",
    ),
    (
        ("shifted_window_mask", {"size": [6], "window_size": [4], "shift": [1]}, [Shape((2, 1, 4, 4))]),
        "windows of 4 do not fill a map of 6, shifted by 1",
        "Give one number for each axis, and a `size` that is a multiple of `window_size`.",
    ),
    (
        ("shifted_window_mask", {"size": [6], "window_size": [3], "shift": [3]}, [Shape((2, 1, 3, 3))]),
        "a shift of 3 moves windows of 3 past each other",
        "Shift by less than a window: half of it, in Swin.",
    ),
    (
        ("shifted_window_mask", {"size": [6], "window_size": [3], "shift": [1]}, [Shape((4, 1, 3, 3))]),
        "a map of 6 has 2 windows of 3, and (4, 1, 3, 3) is not of as many",
        "The scores are (2, heads, 3, 3).",
    ),
    (
        ("scaled_dot_product_attention", {}, [Shape((5, 8)), Shape((5, 8), "int"), Shape((5, 8))]),
        "scaled_dot_product_attention computes with floats, and (5, 8) holds values of dtype int",
        "Declare the input as `{shape: [5, 8], dtype: float}`, or turn it into floats first.",
    ),
]


@pytest.mark.parametrize(("tensors", "message", "hint"), REFUSED, ids=lambda v: v[0] if isinstance(v, tuple) else "")
def test_inputs_that_do_not_fit_are_refused_with_a_way_out(tensors, message, hint):
    kind, options, xs = tensors

    with pytest.raises(ShapeError) as refusal:
        LAYERS[kind].model_validate(options).plan(*xs)

    text = refusal.value.problem_for([str(x) for x in xs])
    assert (text.message, text.hint) == (message, hint)


def test_more_inputs_than_attention_takes_are_refused():
    with pytest.raises(SpecError, match="multihead_attention takes query, key, value, and is given 4 inputs"):
        network_of("[7, 12]", "- multihead_attention: 3\n  from: [input, input, input, input]")


# --- windows -------------------------------------------------------------------------------------------------------


def test_a_relative_position_bias_is_the_same_for_the_same_distance():
    x = Shape((2, 6, 6))
    module = LAYERS["relative_position_bias"](window_size=[2, 3]).module(x)
    bias = module(torch.zeros(1, *x))[0, 1]
    place = [divmod(i, 3) for i in range(6)]
    by_distance = {}
    for i, (a, b) in enumerate(place):
        for j, (c, d) in enumerate(place):
            by_distance.setdefault((a - c, b - d), set()).add(bias[i, j].item())

    assert len(by_distance) == 3 * 5
    assert all(len(values) == 1 for values in by_distance.values())
    assert len(bias.unique()) == 15


def test_a_shifted_window_mask_parts_what_the_shift_brought_together():
    """A row of 6 in windows of 3, rolled by 1: places 1 2 3 | 4 5 0. 0 does not stand beside 4 and 5."""
    x = Shape((2, 1, 3, 3))
    mask = LAYERS["shifted_window_mask"](size=[6], window_size=[3], shift=[1]).module(x)(torch.zeros(1, *x))[0, :, 0]

    assert not mask[0].any()
    assert mask[1].tolist() == [[0, 0, -100], [0, 0, -100], [-100, -100, 0]]


@pytest.mark.parametrize("shift", [[0, 0], [1, 2]])
def test_a_shifted_window_mask_in_two_dimensions_is_that_of_each_place_s_origin(shift):
    x = Shape((4, 1, 9, 9))
    layer = LAYERS["shifted_window_mask"](size=[6, 6], window_size=[3, 3], shift=shift)
    mask = layer.module(x)(torch.zeros(1, *x))[0, :, 0]
    rows, columns = torch.meshgrid(torch.arange(6), torch.arange(6), indexing="ij")
    origin = torch.stack([rows, columns]).roll([-s for s in shift], [1, 2])
    windows = origin.view(2, 2, 3, 2, 3).permute(1, 3, 2, 4, 0).reshape(4, 9, 2)
    near = (windows[:, :, None] - windows[:, None]).abs().amax(-1) < 3

    assert torch.equal(mask == 0, near)


# --- a head tied to an embedding ------------------------------------------------------------------------------------

TOKENS = "{tokens: {shape: [6], dtype: int}}"
TIED = "- {embedding: {num_embeddings: 11, embedding_dim: 4}, name: words}\n- tanh\n- {linear: 11, tie: words}"


def test_a_head_tied_to_an_embedding_runs_its_table_as_it_is():
    graph = network_of(TOKENS, TIED)
    network, tokens = build(graph), torch.randint(11, (2, 6))
    by_hand = F.linear(network.words(tokens).tanh(), network.words.weight, network.linear_1.bias)

    torch.testing.assert_close(network(tokens), by_hand)
    assert graph.params == 11 * 4 + 11
    assert graph.macs == 6 * 11 * 4
    assert [name for name, _ in network.named_parameters()] == ["words.weight", "linear_1.bias"]


def test_a_head_can_be_tied_to_an_embedding_that_is_shared():
    graph = network_of(
        "{a: {shape: [6], dtype: int}, b: {shape: [6], dtype: int}}",
        """
        - embedding: {num_embeddings: 11, embedding_dim: 4}
          name: words
          from: a
        - share: words
          from: b
          name: again
        - linear: {out_features: 11, bias: false}
          tie: words
        """,
    )
    network, tokens = build(graph), torch.randint(11, (2, 6))

    torch.testing.assert_close(network(tokens, tokens), network.words(tokens) @ network.words.weight.T)
    assert graph.params == 11 * 4


@pytest.mark.parametrize(
    ("layers", "message", "hint"),
    [
        (
            TIED.replace("linear: 11", "linear: 12"),
            "the weight of `words` (line 4) is (11, 4), and this layer wants (12, 4)",
            "Let this one be `linear: 11`.",
        ),
        (
            TIED.replace("tanh", "linear: 5"),
            "the weight of `words` (line 4) is (11, 4), and this layer wants (11, 5)",
            "`- linear: 4` above it brings what comes in to the 4 values of the embedding.",
        ),
        (
            "- {embedding: {num_embeddings: 11, embedding_dim: 4}}\n- {relu: , name: r}\n- {linear: 4, tie: r}",
            "`r` (line 5) is of kind `relu`, whose weight no other layer runs",
            "Tie to a linear layer, or to an embedding.",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_refused_with_a_way_out(layers, message, hint):
    with pytest.raises(SpecError) as refusal:
        network_of(TOKENS, layers)

    (problem,) = refusal.value.problems
    assert (problem.message, problem.hint) == (message, hint)


# --- networks of known size -----------------------------------------------------------------------------------------


def gpt(words, length, width, depth, heads):
    """A decoder as GPT-2 has it (Radford et al. 2019, section 2.3): norms first, a tied head."""
    layers = f"""
        - embedding: {{num_embeddings: {words}, embedding_dim: {width}}}
          name: words
        - parameter: {{shape: [{length}, {width}], std: 0.01}}
          name: places
        - add:
          from: [words, places]
        - dropout: 0.1
        - repeat:
            times: {depth}
            layers:
              - residual:
                  layers: [layer_norm, {{multihead_attention: {{num_heads: {heads}, is_causal: true}}}}]
              - residual:
                  layers:
                    - layer_norm
                    - linear: {4 * width}
                    - gelu: {{approximate: tanh}}
                    - linear: {width}
        - layer_norm
        - linear: {{out_features: {words}, bias: false}}
          tie: words
    """
    return network_of(f"{{tokens: {{shape: [{length}], dtype: int}}}}", layers)


def test_gpt2_small_has_its_124_million_parameters():
    v, t, d, n = 50257, 1024, 768, 12
    graph = gpt(v, t, d, n, heads=12)

    assert graph.params == 124_439_808  # what the released weights hold
    assert graph.params == v * d + t * d + n * (12 * d * d + 13 * d) + 2 * d
    assert graph.macs == t * (n * (12 * d * d + 2 * t * d) + v * d)
    assert graph.receptive_field == "global"


def test_a_small_gpt_sees_no_token_that_comes_later():
    network = build(gpt(11, 6, 8, depth=2, heads=2)).eval()
    tokens = torch.randint(11, (1, 6))
    other = tokens.clone()
    other[0, 4] = (other[0, 4] + 1) % 11
    changed = (network(tokens) != network(other)).any(-1)[0]

    assert changed.tolist() == [False, False, False, False, True, True]


def test_vit_b_16_has_the_counts_of_torchvision():
    """Dosovitskiy et al. 2020, table 1; 86,567,656 parameters and 17.56 GMACs in torchvision's weights metadata."""
    d, tokens = 768, 14 * 14 + 1
    graph = network_of(
        "[3, 224, 224]",
        """
        - conv: {out_channels: 768, kernel_size: 16, stride: 16}
        - flatten: {start_dim: 2}
        - transpose:
          name: patches
        - parameter: {shape: [1, 768]}
          name: token
        - concat:
          from: [token, patches]
          name: tokens
        - parameter: {shape: [197, 768], std: 0.02}
          name: places
        - add:
          from: [tokens, places]
        - repeat:
            times: 12
            layers:
              - residual: {layers: [{layer_norm: {eps: 1e-6}}, {multihead_attention: 12}]}
              - residual: {layers: [{layer_norm: {eps: 1e-6}}, {linear: 3072}, gelu, {linear: 768}]}
        - layer_norm: {eps: 1e-6}
        - select: 0
        - linear: 1000
        """,
    )

    assert graph.params == 86_567_656
    by_hand = 196 * 768 * d + 12 * (tokens * 12 * d * d + 2 * tokens**2 * d) + 1000 * d
    assert graph.macs == by_hand == 17_563_828_224
    assert graph.by_name["tokens"].shape == (197, 768)
    assert graph.receptive_field == "global"


SWIN = """
blocks:
  attention:
    args: {side: null, width: null, heads: null, shift: 0}
    layers:
      - roll: {shifts: ["${-shift}", "${-shift}"], dims: [1, 2]}
        when: ${shift > 0}
      - reshape: ["${side // 7}", 7, "${side // 7}", 7, "${width}"]
      - permute: [1, 3, 2, 4, 5]
      - reshape: ["${(side // 7) ** 2}", 49, "${width}"]
      - linear: ${3 * width}
      - reshape: ["${(side // 7) ** 2}", 49, 3, "${heads}", -1]
      - permute: [3, 1, 4, 2, 5]
        name: qkv
      - {select: 0, name: q}
      - {select: 1, from: qkv}
      - {transpose: {dim0: -1, dim1: -2}, name: k}
      - {select: 2, from: qkv, name: v}
      - {matmul: , from: [q, k]}
      - scale: ${(width / heads) ** -0.5}
      - relative_position_bias: {window_size: [7, 7]}
      - shifted_window_mask: {size: ["${side}", "${side}"], window_size: [7, 7], shift: ["${shift}", "${shift}"]}
        when: ${shift > 0}
      - {softmax: -1, name: weights}
      - {matmul: , from: [weights, v]}
      - permute: [1, 3, 2, 4]
      - reshape: ["${(side // 7) ** 2}", 49, "${width}"]
      - linear: ${width}
      - reshape: ["${side // 7}", "${side // 7}", 7, 7, "${width}"]
      - permute: [1, 3, 2, 4, 5]
      - reshape: ["${side}", "${side}", "${width}"]
      - roll: {shifts: ["${shift}", "${shift}"], dims: [1, 2]}
        when: ${shift > 0}
"""
STAGES = """
    - conv: {out_channels: 96, kernel_size: 4, stride: 4}
    - permute: [2, 3, 1]
    - layer_norm
    - for: {side: [56, 28, 14, 7], width: [96, 192, 384, 768], heads: [3, 6, 12, 24], depth: [2, 2, 6, 2]}
      layers:
        - layers:
            - reshape: ["${side}", 2, "${side}", 2, "${width // 2}"]
            - permute: [1, 3, 4, 2, 5]
            - reshape: ["${side}", "${side}", "${2 * width}"]
            - layer_norm
            - linear: {out_features: "${width}", bias: false}
          when: ${i > 0}
        - repeat:
            times: ${depth}
            index: n
            layers:
              - residual:
                  layers:
                    - layer_norm
                    - attention:
                        side: ${side}
                        width: ${width}
                        heads: ${heads}
                        shift: "${3 if n % 2 == 1 and side > 7 else 0}"
              - residual: {layers: [layer_norm, {linear: "${4 * width}"}, gelu, {linear: "${width}"}]}
    - layer_norm
    - mean: [1, 2]
    - linear: 1000
"""


def test_swin_t_has_the_counts_of_torchvision():
    """Liu et al. 2021, table 7; 28,288,354 parameters and 4.491 GMACs in torchvision's weights metadata."""
    graph = network_of("[3, 224, 224]", STAGES, SWIN)
    stages = list(zip([56, 28, 14, 7], [96, 192, 384, 768], [2, 2, 6, 2], strict=True))
    blocks = sum(n * side**2 * (12 * c * c + 2 * 49 * c) for side, c, n in stages)
    merging = sum(side**2 * 2 * c * c for side, c, _ in stages[1:])

    assert graph.params == 28_288_354
    assert graph.macs == 56**2 * 48 * 96 + blocks + merging + 768 * 1000
    assert round(graph.macs / 1e9, 3) == 4.491
    assert graph.buffers == 12 * 49**2


def test_swin_computes_what_its_plan_says():
    layers = STAGES.replace("[56, 28, 14, 7]", "[14, 7]").replace("[96, 192, 384, 768]", "[12, 24]")
    layers = layers.replace("[3, 6, 12, 24]", "[3, 3]").replace("[2, 2, 6, 2]", "[2, 1]").replace("96", "12")
    graph = network_of("[3, 56, 56]", layers, SWIN)
    network = build(graph)

    assert network(torch.randn(2, 3, 56, 56)).shape == (2, 1000)
    assert sum(p.numel() for p in network.parameters()) == graph.params
    assert counted(network, (3, 56, 56)) == graph.macs
