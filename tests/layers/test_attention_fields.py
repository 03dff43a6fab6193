"""Heads of another width, scales, turned heads and windows of attention; given queries, keys and values; steps."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from helpers import contradiction, refusal
from test_attention import counted
from test_saved_tensors import planned, saved_by_torch

from dlx.layers import LAYERS
from dlx.layers.base import OWN
from dlx.modules.steps import Cache
from dlx.shapes import Shape

MULTIHEAD, SCALED = LAYERS["multihead_attention"], LAYERS["scaled_dot_product_attention"]
X = Shape((7, 12))
STEPWISE = {"atol": 2e-6, "rtol": 1e-5}
"""How far steps may be from the whole pass: sums of other order."""


def band(tokens, window, causal):
    before = torch.arange(tokens)[:, None] - torch.arange(tokens)[None]
    return (before < window) & (before >= 0 if causal else before > -window)


def by_hand(module, x, mask=None, scale=None, heads=3, turn=lambda x: x):
    """Attention of tokens to themselves, by the formula, with the weights of a module."""
    rows = module.in_proj_weight.shape[0] // 3
    q, k, v = (
        x @ w.T + b for w, b in zip(module.in_proj_weight.split(rows), module.in_proj_bias.split(rows), strict=True)
    )
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
    scores = turn(q) @ turn(k).transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return module.out_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


def test_scores_have_the_scale_that_is_given():
    """T5 has none: a scale of 1."""
    x, layer = torch.randn(2, 7, 12), MULTIHEAD(num_heads=3, scale=1.0)
    module = layer.module(X)
    torch.testing.assert_close(module(x), by_hand(module, x, scale=1.0))
    assert (module(x) - by_hand(module, x)).abs().max() > 1e-4


def test_heads_may_be_wider_than_their_share_of_a_token():
    x, layer = torch.randn(2, 7, 12), MULTIHEAD(num_heads=3, head_dim=10)
    module, plan = layer.module(X), layer.plan(X)
    torch.testing.assert_close(module(x), by_hand(module, x))
    assert plan.params == 4 * 12 * 30 + 3 * 30 + 12 == sum(p.numel() for p in module.parameters())
    assert plan.macs == 4 * 7 * 12 * 30 + 2 * 7 * 7 * 30 == counted(module, (7, 12))
    assert MULTIHEAD(num_heads=5, head_dim=2).plan(X).shape == (7, 12)


def test_a_head_as_wide_as_its_share_begins_as_it_would_without_saying_so():
    torch.manual_seed(0)
    said = MULTIHEAD(num_heads=1, head_dim=12).module(X)
    torch.manual_seed(0)
    plain = MULTIHEAD(num_heads=1).module(X)
    assert all(torch.equal(a, b) for a, b in zip(said.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize("rotary", [{}, {"base": 100.0}, {"interleaved": True}, {"fraction": 0.5}])
def test_turned_heads_are_those_of_the_layer_rotary_embedding(rotary):
    x, layer = torch.randn(2, 7, 12), MULTIHEAD(num_heads=3, rotary=rotary)
    module = layer.module(X)
    turn = LAYERS["rotary_embedding"].model_validate(rotary).module(Shape((7, 4)))
    torch.testing.assert_close(module(x), by_hand(module, x, turn=turn))
    assert (module(x) - by_hand(module, x)).abs().max() > 1e-4


# --- windows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("tokens", "window"), [(7, 1), (7, 2), (7, 3), (7, 5), (8, 4), (9, 4), (7, 7), (7, 20)])
def test_a_window_is_a_band_of_the_scores(tokens, window, causal):
    x = torch.randn(2, tokens, 12, requires_grad=True)
    layer = MULTIHEAD(num_heads=3, window=window, is_causal=causal)
    module = layer.module(Shape((tokens, 12)))
    y, expected = module(x), by_hand(module, x, band(tokens, window, causal))
    torch.testing.assert_close(y, expected)
    weights = torch.randn_like(y)
    ours, theirs = (torch.autograd.grad((out * weights).sum(), [x, *module.parameters()]) for out in (y, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    if 1 < window < tokens:
        assert (y - by_hand(module, x, band(tokens, window - 1, causal))).abs().max() > 1e-4


def test_a_window_of_grouped_heads_and_with_a_mask():
    x, hidden = torch.randn(2, 9, 12), torch.tensor([[False] * 7 + [True] * 2, [False] * 9])
    grouped = MULTIHEAD(num_heads=6, num_kv_heads=2, window=2, is_causal=True).module(Shape((9, 12)))
    q, k, v = (
        x @ w.T + b
        for w, b in zip(grouped.in_proj_weight.split([12, 4, 4]), grouped.in_proj_bias.split([12, 4, 4]), strict=True)
    )
    q, k, v = (part.unflatten(-1, (-1, 2)).transpose(1, 2) for part in (q, k, v))
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=band(9, 2, True), enable_gqa=True)
    torch.testing.assert_close(grouped(x), grouped.out_proj(y.transpose(1, 2).flatten(2)))

    masked = MULTIHEAD(num_heads=3, window=3, takes=["query", "key_padding_mask"])
    module = masked.module(Shape((9, 12)), Shape((9,), "bool"))
    expected = by_hand(module, x, band(9, 3, False) & ~hidden[:, None, None])
    torch.testing.assert_close(module(x, hidden), expected)


def test_the_cost_of_a_window_grows_with_the_tokens_alone():
    costs = [MULTIHEAD(num_heads=3, window=8, is_causal=True).plan(Shape((t, 12))).macs for t in (800, 1600)]
    assert costs[0] == 800 * 4 * 144 + 2 * 100 * 8 * 16 * 12
    assert costs[1] == 2 * costs[0]


def test_the_derivation_of_a_window_says_its_blocks():
    layer = MULTIHEAD(num_heads=3, window=3, head_dim=2)
    lines = layer.derivation(layer.plan(X), X)
    assert all(line.holds for line in lines)
    (scores,) = (line for line in lines if line.what == "scores")
    assert (scores.formula, scores.numbers) == ("blocks * W * near * H", "3 * 3 * 9 * 6")
    assert lines[-1].value == layer.plan(X).macs


# --- queries without keys -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["training", "evaluation", "no_grad"])
@pytest.mark.parametrize("as_floats", [False, True])
@pytest.mark.parametrize("more", [{}, {"rotary": {}}, {"window": 2}, {"is_causal": True}])
def test_a_query_without_keys_gathers_zeros_in_training_and_in_evaluation(how, as_floats, more):
    x, hidden = torch.randn(2, 7, 12), torch.tensor([[True] * 7, [False] * 7])
    mask = torch.zeros(2, 7).masked_fill(hidden, -torch.inf) if as_floats else hidden
    xs = [X, Shape((7,), "float" if as_floats else "bool")]
    module = MULTIHEAD(num_heads=3, takes=["query", "key_padding_mask"], **more).module(*xs).train(how == "training")
    with torch.set_grad_enabled(how != "no_grad"):
        y = module(x, mask)
    torch.testing.assert_close(y[0], module.out_proj.bias.detach().expand(7, 12))
    assert y.isfinite().all()
    assert (y[1] - module.out_proj.bias).abs().min() > 0


# --- given queries, keys and values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("keys", "gqa"), [((7, 12), False), ((5, 12), False), ((5, 4), True)])
def test_heads_of_the_last_axis_are_heads_on_an_axis_of_their_own(keys, gqa):
    q, k, v = torch.randn(2, 7, 12), torch.randn(2, *keys), torch.randn(2, *keys)
    xs = [Shape(x.shape[1:]) for x in (q, k, v)]
    layer = SCALED(num_heads=3, enable_gqa=gqa)
    split = [x.unflatten(-1, (-1, 4)).transpose(1, 2) for x in (q, k, v)]
    expected = F.scaled_dot_product_attention(*split, enable_gqa=gqa).transpose(1, 2).flatten(2)
    torch.testing.assert_close(layer.module(*xs)(q, k, v), expected)
    assert layer.plan(*xs).shape == (7, 12)
    assert layer.plan(*xs).macs == 3 * 7 * keys[0] * 8 == counted(layer.module(*xs), *xs)
    assert planned(layer, xs) == saved_by_torch(layer, xs)
    lines = layer.derivation(layer.plan(*xs), *xs)
    assert lines[-1].value == layer.plan(*xs).macs


def test_values_of_given_heads_may_be_wider_and_masks_are_by_head():
    q, k, v = torch.randn(2, 7, 12), torch.randn(2, 5, 12), torch.randn(2, 5, 9)
    seen = torch.rand(2, 3, 7, 5) < 0.6
    seen[..., 0] = True
    xs = [*(Shape(x.shape[1:]) for x in (q, k, v)), Shape((3, 7, 5), "bool")]
    split = [x.unflatten(-1, (3, -1)).transpose(1, 2) for x in (q, k, v)]
    expected = F.scaled_dot_product_attention(*split, attn_mask=seen).transpose(1, 2).flatten(2)
    layer = SCALED(num_heads=3)
    torch.testing.assert_close(layer.module(*xs)(q, k, v, seen), expected)
    assert layer.plan(*xs).shape == (7, 9)


# --- token by token -------------------------------------------------------------------------------------------------

CAUSAL = [
    {},
    {"num_kv_heads": 1},
    {"head_dim": 5},
    {"rotary": {}},
    {"rotary": {"fraction": 0.5}, "num_kv_heads": 3},
    {"window": 3},
    {"window": 3, "rotary": {}, "scale": 0.3},
    {"bias": False},
]


def stepped(step, x, cuts=(0, 4, 5, 6, 9)):
    return torch.cat([step(x[:, a:b]) for a, b in pairwise(cuts)], 1)


@pytest.mark.parametrize("options", CAUSAL)
def test_steps_with_keys_and_values_kept_are_the_whole_pass(options):
    """The lower-right form: torch's own `is_causal` would show a single query the first key alone."""
    x, cache = torch.randn(2, 9, 12), Cache()
    module = MULTIHEAD(num_heads=3, is_causal=True, **options).module(Shape((9, 12))).eval()
    torch.testing.assert_close(stepped(lambda part: module.step(part, cache=cache), x), module(x), **STEPWISE)
    forgotten = torch.cat([module.step(part, cache=Cache()) for part in x.split(1, 1)], 1)
    assert (forgotten - module(x)).abs().max() > 1e-3


def test_steps_under_alibi_are_the_whole_pass():
    x, places, cache = torch.randn(2, 9, 12), Cache(), Cache()
    bias = LAYERS["alibi"](num_heads=3).module(Shape((9, 12)))
    layer = MULTIHEAD(num_heads=3, is_causal=True, takes=["query", "attn_mask"])
    module = layer.module(Shape((9, 12)), Shape((3, 9, 9)))
    steps = stepped(lambda part: module.step(part, bias.step(part, cache=places), cache=cache), x)
    torch.testing.assert_close(steps, module(x, bias(x)), **STEPWISE)


@pytest.mark.parametrize("options", [{}, {"rotary": {}}, {"num_kv_heads": 1}])
def test_a_memory_is_projected_once_and_gathered_from_at_each_step(options):
    x, memory, cache = torch.randn(2, 9, 12), torch.randn(2, 5, 12), Cache()
    module = MULTIHEAD(num_heads=3, **options).module(Shape((9, 12)), Shape((5, 12)))
    step = lambda part: module.step(part, memory, cache=cache)  # noqa: E731
    torch.testing.assert_close(stepped(step, x), module(x, memory), **STEPWISE)
    kept = cache.held["key"]
    module.step(x[:, :1], memory, cache=cache)
    assert cache.held["key"] is kept


@pytest.mark.parametrize("options", [{}, {"num_heads": 3}])
def test_steps_of_given_queries_keys_and_values_are_the_whole_pass(options):
    q, k, v = torch.randn(3, 2, 9, 12)
    module, cache = SCALED(is_causal=True, **options).module(*[Shape((9, 12))] * 3), Cache()
    parts = zip(*(x.split([4, 1, 1, 3], 1) for x in (q, k, v)), strict=True)
    steps = torch.cat([module.step(*part, cache=cache) for part in parts], 1)
    torch.testing.assert_close(steps, module(q, k, v), **STEPWISE)


def test_rows_of_what_is_kept_can_change_places():
    x, cache = torch.randn(3, 9, 12), Cache()
    module = MULTIHEAD(num_heads=3, is_causal=True).module(Shape((9, 12)))
    module.step(x[:, :8], cache=cache)
    cache.reorder(torch.tensor([2, 2, 0]))
    last = module.step(x[[2, 2, 0], 8:], cache=cache)
    torch.testing.assert_close(last, module(x)[[2, 2, 0], 8:], **STEPWISE)


# --- what torch keeps, and mistakes ---------------------------------------------------------------------------------

WINDOWS = Shape((2, 7, 12))


@pytest.mark.parametrize(
    ("options", "xs"),
    [
        ({"head_dim": 6}, [X]),
        ({"head_dim": 6, "dropout": 0.1}, [X]),
        ({"rotary": {}}, [X]),
        ({"rotary": {"fraction": 0.5}}, [X]),
        ({"rotary": {"interleaved": True}, "num_kv_heads": 1}, [X]),
        ({"rotary": {}}, [X, Shape((5, 12))]),
        ({"rotary": {}}, [WINDOWS]),
        ({"window": 1}, [X]),
        ({"window": 2, "is_causal": True}, [X]),
        ({"window": 3}, [X]),
        ({"window": 3, "num_kv_heads": 1}, [X]),
        ({"window": 3, "rotary": {}}, [X]),
        ({"window": 3, "dropout": 0.1}, [X]),
        ({"window": 5}, [WINDOWS]),
        ({"window": 9}, [X]),
    ],
)
def test_what_the_fields_keep_is_what_torch_keeps(options, xs):
    layer = MULTIHEAD.model_validate({"num_heads": 3, **options})
    plan, module = layer.plan(*xs), layer.module(*xs)
    assert planned(layer, xs) == saved_by_torch(layer, xs)
    if "window" in options and "dropout" not in options:
        assert planned(layer, xs, (0,)) == saved_by_torch(layer, xs, (0,))
    assert planned(layer, xs, (OWN,)) == saved_by_torch(layer, xs, (OWN,))
    assert plan.macs == counted(layer.module(*xs), *xs)
    assert dict(plan.weights) == {name: tuple(p.shape) for name, p in module.named_parameters()}
    assert dict(plan.buffers) == {name: tuple(b.shape) for name, b in module.named_buffers()}


@pytest.mark.parametrize(
    ("kind", "options", "xs", "message", "hint"),
    [
        (
            "multihead_attention",
            {"num_heads": 3, "window": 2},
            [(7, 12), (5, 12)],
            "multihead_attention with a window compares positions, and (7, 12) has 7 tokens, (5, 12) 5",
            "Leave `window` out, or let the tokens attend to themselves.",
        ),
        (
            "multihead_attention",
            {"num_heads": 4, "rotary": {}},
            [(7, 12)],
            "rotary_embedding turns pairs, and a head of 3 values leaves 3",
            "Take another `fraction` or number of heads, so that an even number of values is left.",
        ),
        (
            "scaled_dot_product_attention",
            {"num_heads": 3},
            [(7, 12), (7, 9), (7, 9)],
            (
                "attention splits queries of 12 values, (7, 12), into num_heads = 3, and keys of 9, (7, 9), do not "
                "split alike"
            ),
            "Queries have a multiple of 3 values, and keys as many.",
        ),
        (
            "scaled_dot_product_attention",
            {"num_heads": 3},
            [(7, 12), (7, 12), (7, 8)],
            "the 8 values of (7, 8) do not split into the 3 heads of the keys (7, 12)",
            "Make them a multiple of 3.",
        ),
        (
            "scaled_dot_product_attention",
            {"num_heads": 3},
            [(7, 12), (7, 12), (5, 12)],
            (
                "attention with num_heads wants tokens of (T, D), and as many keys as values, not (7, 12), (7, 12) "
                "and (5, 12)"
            ),
            "Leave `num_heads` out where the heads are an axis: (heads, T, values).",
        ),
    ],
)
def test_what_does_not_fit_names_both_sides(kind, options, xs, message, hint):
    assert refusal(kind, options, xs) == (message, hint)


def test_the_heads_of_rotary_are_those_of_the_attention():
    assert contradiction("multihead_attention", {"num_heads": 4, "rotary": {"num_heads": 2}}) == (
        "`rotary` turns each of the heads that the attention has: leave its num_heads out"
    )
