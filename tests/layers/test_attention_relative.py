"""Relative positions in attention: each score and sum by the papers' formulas, and step by step."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dlx.errors import ShapeError
from dlx.layers import LAYERS
from dlx.modules.steps import Cache
from dlx.shapes import Shape

KINDS = ["relative_attention", "transformer_xl_attention"]
T, D, H = 6, 8, 2
d = D // H


def built(kind, *masks, **options):
    torch.manual_seed(0)
    layer = LAYERS[kind].model_validate(
        {"num_heads": H, **({"takes": ["query", *masks]} if masks else {}), **options}
    )
    module = layer.module(Shape((T, D)), *(Shape((T,), "bool") for _ in masks)).double()
    for one in module.parameters():
        torch.nn.init.normal_(one, 0, 0.5)
    return layer, module


def projected(module, x):
    """Queries, keys and values of one sample, heads first: (3, H, T, d)."""
    each = (x @ module.in_proj_weight.T + module.in_proj_bias).chunk(3, -1)
    return [one.view(T, H, d).transpose(0, 1) for one in each]


def shaw_by_hand(module, x, seen, reach=2):
    """Equations 3 and 4, sum by sum."""
    q, k, v = projected(module, x)
    out = torch.zeros(H, T, d, dtype=torch.double)
    for h in range(H):
        for i in range(T):
            rows = [max(-reach, min(reach, j - i)) + reach for j in range(T)]
            scores = torch.stack([q[h, i] @ (k[h, j] + module.key_embedding[rows[j]]) / d**0.5 for j in range(T)])
            weights = scores.masked_fill(~seen[i], -torch.inf).softmax(0)
            out[h, i] = sum(weights[j] * (v[h, j] + module.value_embedding[rows[j]]) for j in range(T))
    return module.out_proj(out.transpose(0, 1).flatten(1))


def transformer_xl_by_hand(module, x, seen):
    """The four terms of section 3.3, score by score."""
    q, k, v = projected(module, x)
    rates = 10_000.0 ** (-torch.arange(0, D, 2, dtype=torch.double) / D)
    weight = module.position_weight.view(H, d, D)
    out = torch.zeros(H, T, d, dtype=torch.double)
    for h in range(H):
        for i in range(T):
            scores = []
            for j in range(T):
                r = weight[h] @ torch.cat([((i - j) * rates).sin(), ((i - j) * rates).cos()])
                terms = q[h, i] @ k[h, j], q[h, i] @ r, module.u[h] @ k[h, j], module.v[h] @ r
                scores.append(sum(terms) / d**0.5)
            out[h, i] = torch.stack(scores).masked_fill(~seen[i], -torch.inf).softmax(0) @ v[h]
    return module.out_proj(out.transpose(0, 1).flatten(1))


BY_HAND = {"relative_attention": shaw_by_hand, "transformer_xl_attention": transformer_xl_by_hand}
OPTIONS = {"relative_attention": {"max_distance": 2}, "transformer_xl_attention": {}}


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_each_score_is_that_of_the_paper(kind, is_causal):
    _, module = built(kind, is_causal=is_causal, **OPTIONS[kind])
    x = torch.randn(3, T, D, dtype=torch.double)
    seen = torch.ones(T, T, dtype=torch.bool)
    expected = torch.stack([BY_HAND[kind](module, one, seen.tril() if is_causal else seen) for one in x])
    assert torch.allclose(module(x), expected, atol=1e-10)
    assert torch.allclose(module(x.view(3, 1, T, D)).view(3, T, D), expected, atol=1e-10)
    assert not torch.allclose(module(x.flip(1)).flip(1), expected, atol=1e-3)  # no order of tokens is like another


@pytest.mark.parametrize("kind", KINDS)
def test_without_its_positions_it_is_the_attention_of_torch(kind):
    """With vectors, u, v and W of zero the order of the tokens is told to nobody."""
    _, module = built(kind, **OPTIONS[kind])
    plain = torch.nn.MultiheadAttention(D, H, batch_first=True).double()
    with torch.no_grad():
        for name, one in module.named_parameters():
            if "proj" not in name:
                one.zero_()
        for name, one in plain.named_parameters():
            one.copy_(dict(module.named_parameters())[name])
    x = torch.randn(3, T, D, dtype=torch.double)
    assert torch.allclose(module(x), plain(x, x, x)[0], atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_hide_keys_and_a_query_without_any_gathers_nothing(kind):
    _, module = built(kind, "key_padding_mask", **OPTIONS[kind])
    x, hidden = torch.randn(3, T, D, dtype=torch.double), torch.zeros(3, T, dtype=torch.bool)
    hidden[0, 4:], hidden[2] = True, True
    seen = ~hidden.unsqueeze(1).expand(3, T, T)
    found = module(x, hidden)
    for i in (0, 1):
        assert torch.allclose(found[i], BY_HAND[kind](module, x[i], seen[i]), atol=1e-10)
    assert torch.allclose(found[2], module.out_proj.bias.expand(T, D))
    _, added = built(kind, "attn_mask", is_causal=True, **OPTIONS[kind])
    bias = torch.zeros(3, T, T, dtype=torch.double)
    bias[:, :, 0] = -torch.inf
    later = torch.ones(T, T, dtype=torch.bool).tril()
    later[:, 0] = False
    by_hand = BY_HAND[kind](added, x[1], later)
    assert torch.allclose(added(x, bias)[1, 1:], by_hand[1:], atol=1e-10)
    assert torch.allclose(added(x, bias)[1, 0], added.out_proj.bias)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pieces", [[1] * T, [4, 2], [2, 1, 3]])
def test_token_by_token_is_the_whole(kind, pieces):
    _, module = built(kind, is_causal=True, **OPTIONS[kind])
    x, cache = torch.randn(3, T, D, dtype=torch.double), Cache()
    made = torch.cat([module.step(piece, cache=cache) for piece in x.split(pieces, 1)], 1)
    assert torch.allclose(made, module(x), atol=1e-12)
    assert not torch.allclose(made, torch.cat([module(piece) for piece in x.split(pieces, 1)], 1), atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_longer_inputs_than_planned_are_computed_and_shifted_ones_are_the_same(kind):
    """What it tells of depends on distances alone: with the first token hidden from the others nothing changes."""
    _, module = built(kind, is_causal=True, **OPTIONS[kind])
    x = torch.randn(2, 3 * T, D, dtype=torch.double)
    longer = torch.cat([torch.randn(2, 1, D, dtype=torch.double), x], 1)
    hide = torch.zeros(2, 1 + 3 * T, dtype=torch.bool)
    hide[:, 0] = True
    _, masked = built(kind, "key_padding_mask", is_causal=True, **OPTIONS[kind])
    masked.load_state_dict(module.state_dict())
    assert torch.allclose(masked(longer, hide)[:, 1:], module(x), atol=1e-10)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("x", [(T, D), (3, T, D)])
@pytest.mark.parametrize("kind", KINDS)
def test_macs_of_one_sample_are_those_that_torch_counts(kind, x, is_causal):
    layer, module = built(kind, is_causal=is_causal, **OPTIONS[kind])
    with FlopCounterMode(display=False) as flops:
        module(torch.zeros(1, *x, dtype=torch.double))
    plan = layer.plan(Shape(x))
    assert flops.get_total_flops() == 2 * plan.macs
    (total,) = [one.value for one in layer.derivation(plan, Shape(x)) if one.what == "total"]
    assert total == plan.macs


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_of_weights_and_of_training_alone(kind):
    _, module = built(kind, dropout=0.5, **OPTIONS[kind])
    x = torch.randn(2, T, D, dtype=torch.double)
    assert torch.equal(module.eval()(x), module(x))
    assert not torch.equal(module.train()(x), module(x))


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_is_told(kind):
    layer = LAYERS[kind].model_validate({"num_heads": 3})
    with pytest.raises(ShapeError, match=r"the 8 values of a token in .* do not split into num_heads = 3"):
        layer.plan(Shape((T, D)))
    with pytest.raises(ShapeError, match=f"{kind} wants tokens of"):
        layer.plan(Shape((9,)))
    with pytest.raises(ShapeError, match=f"{kind} takes query, and is given 2 inputs"):
        layer.plan(Shape((T, 9)), Shape((T,), "bool"))
    masked = LAYERS[kind].model_validate({"num_heads": 2, "takes": ["query", "key_padding_mask"]})
    with pytest.raises(ShapeError, match=f"the key_padding_mask of {kind}"):
        masked.plan(Shape((T, D)), Shape((T + 1,), "bool"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_distance_of_a_sign_is_learned_where_plain_attention_is_at_chance(kind):
    """Each token is to tell whether the one two places before it is of kind 1."""
    rng = np.random.default_rng(0)
    tokens = torch.from_numpy(rng.integers(0, 2, (256, 8)))
    target = tokens.roll(2, 1)[:, 2:].float()

    def share_right(layer_kind, **options):
        torch.manual_seed(0)
        layer = LAYERS[layer_kind].model_validate({"num_heads": 2, **options})
        module = torch.nn.Sequential(torch.nn.Embedding(2, 16), layer.module(Shape((8, 16))), torch.nn.Linear(16, 1))
        optimizer = torch.optim.Adam(module.parameters(), 0.01)
        for _ in range(150):
            optimizer.zero_grad()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(module(tokens)[:, 2:, 0], target)
            loss.backward()
            optimizer.step()
        return float(((module(tokens)[:, 2:, 0] > 0) == (target > 0.5)).float().mean())

    options = {"max_distance": 3} if kind == "relative_attention" else {}
    assert share_right(kind, **options) > 0.97
    assert share_right("multihead_attention") < 0.8
