"""Positions of tokens: the formulas of the papers, and of transformers where it is the reference."""

import math

import pytest
import torch
from helpers import network_of, refusal

from dlx.layers import LAYERS
from dlx.modules.steps import Cache
from dlx.network import build
from dlx.shapes import Shape


def module_of(kind, options, *xs):
    return LAYERS[kind].model_validate(options).module(*xs)


# --- added ----------------------------------------------------------------------------------------------------------


def test_the_sinusoidal_encoding_is_the_formula_of_the_paper():
    by_hand = [[(math.sin, math.cos)[i % 2](t / 10_000 ** (2 * (i // 2) / 6)) for i in range(6)] for t in range(5)]
    x = torch.randn(2, 5, 6)
    y = module_of("positional_encoding", {}, Shape((5, 6)))(x)
    torch.testing.assert_close(y - x, torch.tensor(by_hand).expand(2, 5, 6), atol=1e-6, rtol=1e-5)
    halves = module_of("positional_encoding", {"halves": True}, Shape((5, 6)))(x) - x
    torch.testing.assert_close(halves, (y - x)[..., [0, 2, 4, 1, 3, 5]])
    odd = module_of("positional_encoding", {"base": 100.0}, Shape((5, 5)))(torch.zeros(1, 5, 5))
    assert odd[0, 3, 4].item() == pytest.approx(math.sin(3 / 100 ** (4 / 6)))


def test_a_position_embedding_is_an_embedding_of_the_positions():
    x = torch.randn(2, 5, 6)
    module = module_of("position_embedding", {"max_length": 8}, Shape((5, 6)))
    torch.testing.assert_close(module(x), x + torch.nn.functional.embedding(torch.arange(5), module.value))
    assert 0.01 < module.value.std() < 0.04
    assert not module_of("position_embedding", {"std": 0}, Shape((5, 6))).value.any()
    network = build(network_of("[5, 6]", "- position_embedding", "init: {constant: 7}"), None)
    assert network.position_embedding_1.value.abs().max() < 1


# --- angles ---------------------------------------------------------------------------------------------------------


def rotate_half(x, cos, sin):
    """Of transformers 4.57, modeling_llama.py: apply_rotary_pos_emb of one tensor."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


def test_rotary_angles_are_those_of_llama_in_transformers():
    x = torch.randn(2, 3, 5, 8)
    inverse = 1.0 / (10_000 ** (torch.arange(0, 8, 2).float() / 8))
    angles = torch.outer(torch.arange(5).float(), inverse)
    both = torch.cat((angles, angles), -1)
    y = module_of("rotary_embedding", {}, Shape((3, 5, 8)))(x)
    torch.testing.assert_close(y, rotate_half(x, both.cos(), both.sin()))


def test_a_part_of_each_head_turns_in_gpt_neox():
    """transformers 4.57, modeling_gpt_neox.py: rotary_ndims = head_size * rotary_pct, and the rest passes."""
    x = torch.randn(2, 3, 5, 16)
    angles = torch.outer(torch.arange(5).float(), 1.0 / (10_000 ** (torch.arange(0, 4, 2).float() / 4)))
    both = torch.cat((angles, angles), -1)
    y = module_of("rotary_embedding", {"fraction": 0.25}, Shape((3, 5, 16)))(x)
    torch.testing.assert_close(y[..., :4], rotate_half(x[..., :4], both.cos(), both.sin()))
    assert torch.equal(y[..., 4:], x[..., 4:])


def test_interleaved_pairs_are_complex_numbers_that_turn():
    """Meta's llama/model.py: apply_rotary_emb by view_as_complex; equation 34 of the paper."""
    x = torch.randn(2, 3, 5, 8)
    angles = torch.outer(torch.arange(5).float(), 1.0 / (500.0 ** (torch.arange(0, 8, 2).float() / 8)))
    turned = torch.view_as_complex(x.unflatten(-1, (4, 2))) * torch.polar(torch.ones(5, 4), angles)
    y = module_of("rotary_embedding", {"interleaved": True, "base": 500.0}, Shape((3, 5, 8)))(x)
    torch.testing.assert_close(y, torch.view_as_real(turned).flatten(-2))


@pytest.mark.parametrize("options", [{}, {"fraction": 0.5}, {"interleaved": True}])
def test_heads_on_the_last_axis_turn_one_by_one(options):
    x = torch.randn(2, 5, 24)
    whole = module_of("rotary_embedding", {**options, "num_heads": 3}, Shape((5, 24)))(x)
    alone = module_of("rotary_embedding", options, Shape((3, 5, 8)))(x.unflatten(-1, (3, 8)).transpose(1, 2))
    torch.testing.assert_close(whole, alone.transpose(1, 2).flatten(2))


def test_a_product_of_turned_vectors_depends_on_how_far_apart_they_are():
    q, k = torch.randn(8), torch.randn(8)
    module = module_of("rotary_embedding", {}, Shape((12, 8)))
    turned_q, turned_k = module(q.expand(1, 12, 8))[0], module(k.expand(1, 12, 8))[0]
    scores = turned_q @ turned_k.T
    for apart in range(-4, 5):
        alike = scores.diagonal(apart)
        torch.testing.assert_close(alike, alike[:1].expand_as(alike), atol=1e-5, rtol=1e-4)
    assert (scores[0] - (q @ k)).abs()[1:].min() > 1e-4


# --- scores ---------------------------------------------------------------------------------------------------------


def test_the_slopes_of_alibi_are_those_of_the_paper():
    """Section 3: 1/2, 1/4, ... 1/256 for 8 heads; 16 heads lie geometrically between. 12 are 8 and 4 of those."""
    assert module_of("alibi", {"num_heads": 8}, Shape((4, 2))).slopes.tolist() == [2.0**-i for i in range(1, 9)]
    sixteen = module_of("alibi", {"num_heads": 16}, Shape((4, 2))).slopes
    torch.testing.assert_close(sixteen, torch.tensor([2 ** (-i / 2) for i in range(1, 17)]))
    twelve = module_of("alibi", {"num_heads": 12}, Shape((4, 2))).slopes
    torch.testing.assert_close(
        twelve, torch.tensor([2.0**-i for i in range(1, 9)] + [2 ** (-i / 2) for i in (1, 3, 5, 7)])
    )


def test_alibi_falls_with_the_distance():
    made = module_of("alibi", {"num_heads": 2}, Shape((3, 5)), Shape((4, 5)))(
        torch.zeros(2, 3, 5), torch.zeros(2, 4, 5)
    )
    assert made.shape == (2, 2, 3, 4)
    apart = torch.tensor([[0, 1, 2, 3], [1, 0, 1, 2], [2, 1, 0, 1]])
    assert torch.equal(made[1, 0], -apart / 16)
    assert torch.equal(made[0, 1], -apart / 256)


def bucket_of_t5(relative_position, bidirectional=True, num_buckets=32, max_distance=128):
    """Of transformers 4.57, modeling_t5.py: T5Attention._relative_position_bucket, word for word."""
    relative_buckets = 0
    if bidirectional:
        num_buckets //= 2
        relative_buckets += (relative_position > 0).to(torch.long) * num_buckets
        relative_position = torch.abs(relative_position)
    else:
        relative_position = -torch.min(relative_position, torch.zeros_like(relative_position))
    max_exact = num_buckets // 2
    is_small = relative_position < max_exact
    relative_position_if_large = max_exact + (
        torch.log(relative_position.float() / max_exact)
        / math.log(max_distance / max_exact)
        * (num_buckets - max_exact)
    ).to(torch.long)
    relative_position_if_large = torch.min(
        relative_position_if_large, torch.full_like(relative_position_if_large, num_buckets - 1)
    )
    relative_buckets += torch.where(is_small, relative_position, relative_position_if_large)
    return relative_buckets


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "farthest"), [(32, 128), (8, 20), (64, 256)])
def test_buckets_are_those_of_t5(bidirectional, buckets, farthest):
    options = {"num_heads": 2, "num_buckets": buckets, "max_distance": farthest, "bidirectional": bidirectional}
    module = module_of("relative_attention_bias", options, Shape((300, 4)), Shape((310, 4)))
    apart = torch.arange(310)[None] - torch.arange(300)[:, None]
    assert torch.equal(module.buckets, bucket_of_t5(apart, bidirectional, buckets, farthest))
    made = module(torch.zeros(2, 300, 4), torch.zeros(2, 310, 4))
    assert torch.equal(made[1, 1], module.weight[module.buckets, 1])
    assert len(module.buckets.unique()) == (buckets - 1 if bidirectional else buckets)  # 16 is nobody's: +0 is -0


def test_positions_of_all_layers_come_from_one_node_and_learn():
    graph = network_of(
        "[6, 8]",
        """
        - relative_attention_bias: {num_heads: 2, num_buckets: 8, max_distance: 20}
          name: bias
        - multihead_attention: 2
          from: {query: input, attn_mask: bias}
        - multihead_attention: 2
          from: {query: prev, attn_mask: bias}
        """,
    )
    network, x = build(graph), torch.randn(2, 6, 8)
    before = network(x)
    before.sum().backward()
    assert network.bias.weight.grad.abs().sum() > 0
    with torch.no_grad():
        network.bias.weight.add_(torch.randn(8, 2))
    assert (network(x) - before).abs().max() > 1e-3


# --- token by token -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("positional_encoding", {}),
        ("position_embedding", {}),
        ("rotary_embedding", {"fraction": 0.5}),
        ("rotary_embedding", {"num_heads": 2}),
    ],
)
def test_steps_go_on_from_where_the_tokens_before_ended(kind, options):
    module, x, cache = module_of(kind, options, Shape((7, 8))), torch.randn(2, 7, 8), Cache()
    steps = [module.step(x[:, a:b], cache=cache) for a, b in ((0, 3), (3, 4), (4, 7))]
    torch.testing.assert_close(torch.cat(steps, 1), module(x))
    assert (module.step(x[:, :1], cache=Cache()) - module(x)[:, 3:4]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["positional_encoding", "rotary_embedding"])
def test_fixed_positions_go_on_behind_the_length_of_training(kind):
    short, long = (module_of(kind, {}, Shape((t, 8))) for t in (4, 9))
    x, cache = torch.randn(2, 9, 8), Cache()
    torch.testing.assert_close(torch.cat([short.step(part, cache) for part in x.split(3, 1)], 1), long(x))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("alibi", {}), ("relative_attention_bias", {}), ("relative_attention_bias", {"bidirectional": False})],
)
def test_scores_of_steps_are_the_rows_of_the_whole(kind, options):
    module, x, cache = module_of(kind, {**options, "num_heads": 2}, Shape((40, 8))), torch.zeros(2, 40, 8), Cache()
    whole = module(x)
    for a, b in ((0, 30), (30, 31), (31, 40)):
        torch.testing.assert_close(module.step(x[:, a:b], cache=cache), whole[:, :, a:b, :b])


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "x", "message", "hint"),
    [
        (
            "position_embedding",
            {"max_length": 4},
            (5, 6),
            "position_embedding has rows for max_length = 4 tokens, and (5, 6) has 5",
            "Shorten the input, or make room: `max_length: 5`.",
        ),
        (
            "rotary_embedding",
            {"num_heads": 5},
            (5, 6),
            "the 6 values of a token in (5, 6) do not split into num_heads = 5",
            "Pick a divisor of 6, or make the values a multiple of 5.",
        ),
        (
            "rotary_embedding",
            {"num_heads": 2, "fraction": 0.4},
            (5, 6),
            "rotary_embedding turns pairs, and a fraction of 0.4 of a head of 3 values leaves 1",
            "Take another `fraction` or number of heads, so that an even number of values is left.",
        ),
        (
            "positional_encoding",
            {},
            (5,),
            "positional_encoding has positions of tokens, (T, D), and (5,) has a single axis",
            "`- embedding` makes tokens of numbers; an image is first flattened with `start_dim: 2`.",
        ),
        (
            "relative_attention_bias",
            {"num_heads": 2, "max_distance": 8},
            (5, 6),
            (
                "relative_attention_bias has 8 distances with a bucket of their own, and max_distance = 8 is not "
                "beyond them"
            ),
            "Take fewer buckets, or a max_distance above 8; T5 has 32 and 128.",
        ),
    ],
)
def test_what_does_not_fit_says_so(kind, options, x, message, hint):
    assert refusal(kind, options, [x]) == (message, hint)
