"""Masks and grouped heads of attention: torch's module and function, by hand, and networks that are given masks."""

import pytest
import torch
import torch.nn.functional as F
from helpers import contradiction, network_of, refusal
from test_attention import counted
from test_saved_tensors import planned, saved_by_torch
from torch import nn

from dlx.layers import LAYERS
from dlx.network import build
from dlx.shapes import Shape

HIDDEN = torch.tensor([[False, True, True, False, True], [True, True, False, False, False]])
"""Keys of two samples that are hidden."""
MULTIHEAD, SCALED = LAYERS["multihead_attention"], LAYERS["scaled_dot_product_attention"]


def shapes(*tensors):
    kinds = {torch.float32: "float", torch.bool: "bool"}
    return [Shape(x.shape[1:], kinds[x.dtype]) for x in tensors]


def theirs_like(ours, heads, **sizes):
    module = nn.MultiheadAttention(12, heads, batch_first=True, **sizes)
    module.load_state_dict(ours.state_dict())
    return module


def pairs(heads=None):
    """A mask of queries and keys that hides some, and no query's all."""
    torch.manual_seed(1)
    hidden = torch.rand(2, *([heads] if heads else []), 5, 5) < 0.4
    hidden[..., 0] = False
    return hidden


@pytest.mark.parametrize("as_floats", [False, True])
@pytest.mark.parametrize("of", [("attn_mask",), ("key_padding_mask",), ("attn_mask", "key_padding_mask"), ("heads",)])
def test_masks_hide_what_torch_s_module_hides(of, as_floats):
    x = torch.randn(2, 5, 12)
    masks = {
        name.replace("heads", "attn_mask"): HIDDEN if "key" in name else pairs(3 if "heads" in of else None)
        for name in of
    }
    if as_floats:
        masks = {name: torch.where(mask, -1.5, 0.25) for name, mask in masks.items()}
    layer = MULTIHEAD(num_heads=3, takes=["query", *masks])
    tensors = (x, *masks.values())
    ours = layer.module(*shapes(*tensors))
    told = dict(masks)
    if "attn_mask" in told:  # torch wants (N * heads, T, S)
        mask = told["attn_mask"]
        mask = mask if mask.dim() == 4 else mask.unsqueeze(1).expand(-1, 3, -1, -1)
        told["attn_mask"] = mask.reshape(-1, 5, 5)
    expected = theirs_like(ours, 3)(x, x, x, need_weights=False, **told)[0]

    torch.testing.assert_close(ours(*tensors), expected)
    assert (expected - ours(x, *(torch.zeros_like(m) for m in masks.values()))).abs().max() > 1e-3
    plan = layer.plan(*shapes(*tensors))
    assert (plan.shape, plan.params) == ((5, 12), 4 * (12 * 12 + 12))
    assert plan.no_gradient == (() if as_floats else tuple(range(1, len(tensors))))


def test_masks_of_queries_to_other_tokens_and_of_windows():
    q, k = torch.randn(2, 4, 12), torch.randn(2, 5, 10)
    layer = MULTIHEAD(num_heads=3, takes=["query", "key", "key_padding_mask"])
    ours = layer.module(*shapes(q, k, HIDDEN))
    expected = theirs_like(ours, 3, kdim=10, vdim=10)(q, k, k, key_padding_mask=HIDDEN, need_weights=False)[0]
    torch.testing.assert_close(ours(q, k, HIDDEN), expected)

    x, by_window = torch.randn(2, 3, 5, 12), torch.rand(2, 3, 5) < 0.5
    by_window[..., 2] = False
    inside = MULTIHEAD(num_heads=3, takes=["query", "key_padding_mask"])
    module = inside.module(*shapes(x, by_window))
    each = [module(x[:, i], by_window[:, i]) for i in range(3)]
    torch.testing.assert_close(module(x, by_window), torch.stack(each, 1))
    torch.testing.assert_close(module(x, HIDDEN), torch.stack([module(x[:, i], HIDDEN) for i in range(3)], 1))


def test_a_causal_mask_and_a_given_one_hide_together():
    x = torch.randn(2, 5, 12)
    hidden = HIDDEN.clone()
    hidden[:, 0] = False
    layer = MULTIHEAD(num_heads=3, is_causal=True, takes=["query", "key_padding_mask"])
    ours = layer.module(*shapes(x, hidden))
    later = torch.ones(5, 5, dtype=torch.bool).triu(1)
    expected = theirs_like(ours, 3)(x, x, x, key_padding_mask=hidden, attn_mask=later, need_weights=False)[0]
    torch.testing.assert_close(ours(x, hidden), expected)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("as_floats", [False, True])
def test_a_query_whose_keys_are_all_hidden_gathers_zeros_and_has_finite_gradients(as_floats, dropout):
    x = torch.randn(2, 5, 12, requires_grad=True)
    hidden = torch.tensor([[True] * 5, [False] * 5])
    mask = torch.zeros(2, 5).masked_fill(hidden, -torch.inf) if as_floats else hidden
    module = MULTIHEAD(num_heads=3, dropout=dropout, takes=["query", "key_padding_mask"]).module(*shapes(x, mask))
    y = module(x, mask)
    y.square().sum().backward()

    torch.testing.assert_close(y[0], module.out_proj.bias.expand(5, 12))
    assert x.grad[1].abs().min() > 0 if not dropout else x.grad.isfinite().all()
    assert not x.grad[0].any()
    assert all(p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("mask", [(9, 7), (4, 9, 7), (1, 7), (4, 1, 7)])
def test_the_mask_of_scaled_attention_is_true_where_a_key_takes_part(mask):
    q, k, v = torch.randn(2, 4, 9, 8), torch.randn(2, 4, 7, 8), torch.randn(2, 4, 7, 6)
    takes_part = torch.rand(2, *mask) < 0.6
    takes_part[..., 3] = True
    module = SCALED().module(*shapes(q, k, v, takes_part))
    full = takes_part if takes_part.dim() == 4 else takes_part.unsqueeze(1)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=full)

    torch.testing.assert_close(module(q, k, v, takes_part), expected)
    added = torch.where(takes_part, 0.5, -2.0)
    full = added if added.dim() == 4 else added.unsqueeze(1)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=full)
    torch.testing.assert_close(SCALED().module(*shapes(q, k, v, added))(q, k, v, added), expected)


# --- grouped heads --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kv", "others"), [(2, None), (1, None), (3, None), (2, (7, 12)), (2, (7, 10))])
def test_grouped_heads_are_torch_s_enable_gqa(kv, others):
    q = torch.randn(2, 5, 12)
    k = q if others is None else torch.randn(2, *others)
    layer = MULTIHEAD(num_heads=6, num_kv_heads=kv, is_causal=others is None)
    xs = [Shape(x.shape[1:]) for x in ([q] if others is None else [q, k])]
    module, plan, width = layer.module(*xs), layer.plan(*xs), 2 * kv

    if k.shape[-1] == 12:
        wq, wk, wv = module.in_proj_weight.split([12, width, width])
    else:
        wq, wk, wv = module.q_proj_weight, module.k_proj_weight, module.v_proj_weight
    bq, bk, bv = module.in_proj_bias.split([12, width, width])
    heads = [y.unflatten(-1, (-1, 2)).transpose(1, 2) for y in (q @ wq.T + bq, k @ wk.T + bk, k @ wv.T + bv)]
    gathered = F.scaled_dot_product_attention(*heads, is_causal=others is None, enable_gqa=True)
    expected = module.out_proj(gathered.transpose(1, 2).flatten(2))

    torch.testing.assert_close(module(*([q] if others is None else [q, k])), expected)
    s, e = k.shape[1:]
    assert plan.params == sum(p.numel() for p in module.parameters())
    assert plan.params == (12 * 12 + 12) * 2 + 2 * (width * e + width)
    assert plan.macs == counted(module, *(tuple(x) for x in xs)) == 2 * 5 * 144 + 2 * s * e * width + 2 * 5 * s * 12


def test_one_head_of_keys_for_each_head_of_queries_is_plain_attention():
    torch.manual_seed(0)
    grouped = MULTIHEAD(num_heads=3, num_kv_heads=3).module(Shape((5, 12)))
    torch.manual_seed(0)
    plain = MULTIHEAD(num_heads=3).module(Shape((5, 12)))
    assert all(torch.equal(a, b) for a, b in zip(grouped.parameters(), plain.parameters(), strict=True))


def test_scaled_attention_shares_heads_where_it_is_told_to():
    q, k, v = torch.randn(2, 6, 5, 4), torch.randn(2, 2, 7, 4), torch.randn(2, 2, 7, 3)
    layer, xs = SCALED(enable_gqa=True), shapes(q, k, v)
    expected = F.scaled_dot_product_attention(q, k.repeat_interleave(3, 1), v.repeat_interleave(3, 1))
    torch.testing.assert_close(layer.module(*xs)(q, k, v), expected)
    assert layer.plan(*xs).macs == 6 * 5 * 7 * (4 + 3)
    assert (
        "as many axes and heads" in refusal("scaled_dot_product_attention", {}, [x.shape[1:] for x in (q, k, v)])[1]
    )


def test_the_derivation_of_grouped_heads_says_what_a_token_keeps():
    layer, x = MULTIHEAD(num_heads=6, num_kv_heads=2), Shape((5, 12))
    lines = layer.derivation(layer.plan(x), x)
    assert any(line.note == "G = 4 values of 2 heads; keys and values of a token are 2 * G = 8" for line in lines)
    (total,) = (line for line in lines if line.what == "total")
    assert total.holds
    assert total.value == layer.plan(x).macs == 2 * 5 * 144 + 2 * 5 * 12 * 4 + 2 * 25 * 12


# --- what torch keeps -----------------------------------------------------------------------------------------------

BOOL = Shape((7,), "bool")


@pytest.mark.parametrize(
    ("layer", "xs"),
    [
        (MULTIHEAD(num_heads=4, num_kv_heads=2), [Shape((7, 12))]),
        (MULTIHEAD(num_heads=4, num_kv_heads=1), [Shape((7, 12)), Shape((5, 12))]),
        (MULTIHEAD(num_heads=4, takes=["query", "key_padding_mask"]), [Shape((7, 12)), BOOL]),
        (MULTIHEAD(num_heads=4, takes=["query", "attn_mask"]), [Shape((7, 12)), Shape((7, 7), "bool")]),
        (MULTIHEAD(num_heads=4, takes=["query", "attn_mask"]), [Shape((7, 12)), Shape((4, 7, 7), "bool")]),
        (MULTIHEAD(num_heads=4, dropout=0.1, takes=["query", "attn_mask"]), [Shape((7, 12)), Shape((7, 7), "bool")]),
        (SCALED(), [Shape((4, 9, 8)), Shape((4, 7, 8)), Shape((4, 7, 8)), Shape((9, 7), "bool")]),
        (SCALED(enable_gqa=True), [Shape((4, 9, 8)), Shape((2, 7, 8)), Shape((2, 7, 8))]),
    ],
)
def test_what_masks_and_grouped_heads_keep_is_what_torch_keeps(layer, xs):
    assert planned(layer, xs) == saved_by_torch(layer, xs)


# --- in a network ---------------------------------------------------------------------------------------------------


def test_a_network_takes_its_mask_as_an_input():
    graph = network_of(
        "{tokens: [5, 12], padding: {shape: [5], dtype: bool}}",
        """
        - multihead_attention: {num_heads: 3, num_kv_heads: 1}
          from: {key_padding_mask: padding, query: tokens}
          name: mix
        - share: mix
          from: {query: prev, key_padding_mask: padding}
        """,
    )
    first, second = graph.nodes
    assert (first.inputs, second.inputs) == (("tokens", "padding"), ("mix", "padding"))
    assert list(graph.receptive_fields) == ["tokens"]
    network, x = build(graph), torch.randn(2, 5, 12)
    changed = torch.where(HIDDEN.unsqueeze(-1), 100.0, x)
    seen, other = network(x, HIDDEN), network(changed, HIDDEN)
    torch.testing.assert_close(seen[~HIDDEN], other[~HIDDEN])
    assert (network(x, ~HIDDEN)[~HIDDEN] - seen[~HIDDEN]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("takes", "mask", "sentence"),
    [
        ("attn_mask", Shape((5,), "bool"), "does not hold a value for each of the 5 queries and 5 keys"),
        ("attn_mask", Shape((2, 5, 5), "bool"), "does not hold a value for each of the 5 queries and 5 keys"),
        ("key_padding_mask", Shape((4,), "bool"), "does not hold one value for each of the 5 keys"),
        ("key_padding_mask", Shape((5, 5)), "does not hold one value for each of the 5 keys"),
        ("key_padding_mask", Shape((5,), "int"), "holds whole numbers"),
    ],
)
def test_a_mask_that_does_not_fit_says_so(takes, mask, sentence):
    message, hint = refusal(
        "multihead_attention", {"num_heads": 3, "takes": ["query", takes]}, [Shape((5, 12)), mask]
    )
    assert message == f"the {takes} of multihead_attention, {mask}, {sentence}"
    assert hint.startswith("Declare the input" if mask.dtype == "int" else "It can be (5,")


def test_fields_that_do_not_go_together_say_so():
    assert contradiction("multihead_attention", {"num_heads": 4, "num_kv_heads": 3}) == (
        "num_heads = 4 is no multiple of num_kv_heads = 3"
    )
    assert "must hold query, and key" in contradiction("multihead_attention", {"num_heads": 4, "takes": ["value"]})
    assert "must keep this order" in contradiction("multihead_attention", {"num_heads": 4, "takes": ["key", "query"]})
    message, _ = refusal("multihead_attention", {"num_heads": 3}, [Shape((5, 12))] * 4)
    assert message == "multihead_attention takes query, key, value, and is given 4 inputs"
