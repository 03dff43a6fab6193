"""Texts of different lengths and several documents in a window: recurrent layers, reductions and attention."""

import pytest
import torch
from helpers import refusal
from test_saved_tensors import planned, saved_by_torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dlx.layers import LAYERS
from dlx.shapes import Shape

THEIRS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
OPTIONS = [
    {},
    {"num_layers": 2},
    {"bidirectional": True},
    {"num_layers": 3, "bidirectional": True, "bias": False},
]
X, LENGTH, DOCUMENT = Shape((7, 3)), Shape((), "int"), Shape((7,), "int")
LENGTHS = torch.tensor([7, 1, 3, 5])
PADDING = torch.arange(7) >= LENGTHS.unsqueeze(1)


def made(kind, *xs, takes=None, **options):
    """A layer, and its module."""
    layer = LAYERS[kind].model_validate(options | ({"takes": takes} if takes else {}))
    layer.plan(*xs)
    torch.manual_seed(0)
    return layer, layer.module(*xs)


def recurrent(kind, *takes, packs=False, **options):
    xs = [{"lengths": LENGTH, "document": DOCUMENT}[name] for name in takes]
    layer, module = made(kind, X, *xs, takes=["input", *takes], hidden_size=5, **options)
    module.packs = packs
    return layer, module


def theirs_of(kind, module, **options):
    theirs = THEIRS[kind](3, 5, batch_first=True, **options)
    theirs.load_state_dict(module.state_dict())
    return theirs


def packed_by_torch(theirs, x, lengths=LENGTHS):
    """Outputs and states at the end of torch's packed sequences: (N, T, D * H), and (N, K, H) each."""
    y, last = theirs(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
    y, _ = pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
    return y, [end.transpose(0, 1) for end in (last if isinstance(last, tuple) else (last,))]


# --- recurrent layers: lengths --------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", sorted(THEIRS))
def test_outputs_and_gradients_are_those_of_torch_s_packed_sequences(kind, options):
    layer, ours = recurrent(kind, "lengths", **options)
    theirs = theirs_of(kind, ours, **options)
    x = torch.randn(4, *X, requires_grad=True)
    y, (expected, last) = ours(x, LENGTHS), packed_by_torch(theirs, x)
    torch.testing.assert_close(y, expected)
    assert not y[PADDING].any()
    assert (theirs(x)[0] - expected).abs().max() > 0.1, "without lengths it would be the same"
    for made, wanted in zip(
        torch.autograd.grad(y.square().sum(), (x, *ours.parameters())),
        torch.autograd.grad(expected.square().sum(), (x, *theirs.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(made, wanted, atol=1e-5, rtol=1e-4)

    end = layer.model_copy(update={"return_sequences": False}).module(X, LENGTH)
    end.load_state_dict(ours.state_dict())
    directions = 2 if options.get("bidirectional") else 1
    torch.testing.assert_close(end(x, LENGTHS), last[0][:, -directions:].flatten(1))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", sorted(THEIRS))
def test_states_and_cells_are_those_of_the_last_real_step(kind, options):
    _, ours = recurrent(kind, "lengths", packs=True, **options)
    x = torch.randn(4, *X)
    y, last = packed_by_torch(theirs_of(kind, ours, **options), x)
    torch.testing.assert_close(ours(x, LENGTHS), torch.cat([one.flatten(1) for one in (y, *last)], 1))


def test_a_projected_state_and_one_to_begin_at():
    takes = ["input", "h_0", "c_0", "lengths"]
    state, cell = torch.randn(2, 4, 2), torch.randn(2, 4, 5)
    options = {"num_layers": 2, "proj_size": 2}
    _, ours = made("lstm", X, Shape((2, 2)), Shape((2, 5)), LENGTH, takes=takes, hidden_size=5, **options)
    theirs, x = theirs_of("lstm", ours, **options), torch.randn(4, *X)
    y, _ = theirs(pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False), (state, cell))
    expected = pad_packed_sequence(y, batch_first=True, total_length=7)[0]
    torch.testing.assert_close(ours(x, state.transpose(0, 1), cell.transpose(0, 1), LENGTHS), expected)


@pytest.mark.parametrize("activation", ["sigmoid", "identity"])
def test_an_activation_that_torch_has_not_goes_the_same_way(activation, monkeypatch):
    """With tanh in its place it is torch's."""
    from dlx.modules import recurrent as modules

    monkeypatch.setitem(modules.ACTIVATIONS, activation, torch.tanh)
    _, ours = recurrent("rnn", "lengths", nonlinearity=activation, num_layers=2, bidirectional=True)
    x = torch.randn(4, *X)
    expected, _ = packed_by_torch(theirs_of("rnn", ours, num_layers=2, bidirectional=True), x)
    torch.testing.assert_close(ours(x, LENGTHS), expected)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}])
@pytest.mark.parametrize("kind", sorted(THEIRS))
def test_a_text_of_no_step_ends_where_it_begins(kind, options):
    _, ours = recurrent(kind, "lengths", return_sequences=False, **options)
    y = ours(torch.randn(2, *X), torch.tensor([0, 4]))
    assert not y[0].any()
    assert y[1].any()


def test_what_stands_behind_the_end_changes_nothing():
    _, ours = recurrent("lstm", "lengths", num_layers=2, bidirectional=True)
    x = torch.randn(4, *X)
    other = torch.where(PADDING.unsqueeze(-1), 1e3, x)
    torch.testing.assert_close(ours(x, LENGTHS), ours(other, LENGTHS), rtol=0, atol=0)


def test_carried_states_are_those_of_the_last_real_step():
    from dlx.modules.carry import carrying

    _, ours = recurrent("lstm", "lengths")
    x, held = torch.randn(4, *X), {}
    with carrying(torch.ones(4, dtype=torch.bool), held):
        ours(x, LENGTHS)
    _, last = packed_by_torch(theirs_of("lstm", ours), x)
    for kept, end in zip(held[ours], last, strict=True):
        torch.testing.assert_close(kept.transpose(0, 1), end)


# --- recurrent layers: documents ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS[1:])
@pytest.mark.parametrize("kind", sorted(THEIRS))
def test_each_document_of_a_window_is_as_it_is_alone(kind, options):
    _, ours = recurrent(kind, "document", **options)
    theirs, x = theirs_of(kind, ours, **options), torch.randn(1, *X)
    y = ours(x, torch.tensor([[0, 0, 0, 1, 2, 2, 2]]))
    for first, last in ((0, 3), (3, 4), (4, 7)):
        torch.testing.assert_close(y[:, first:last], theirs(x[:, first:last])[0])
    assert (y - theirs(x)[0]).abs().max() > 0.01, "without documents it would be the same"


def test_documents_and_lengths_go_together():
    _, ours = recurrent("gru", "lengths", "document", packs=True)
    theirs, x = theirs_of("gru", ours), torch.randn(1, *X)
    y = ours(x, torch.tensor([5]), torch.tensor([[0, 0, 0, 1, 1, 2, 2]]))
    made, last = theirs(x[:, 3:5])
    torch.testing.assert_close(y[0, 15:25], made.flatten())
    torch.testing.assert_close(y[0, 35:], last.flatten())
    assert not y[0, 25:35].any()


# --- reductions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "by_torch"), [("mean", torch.mean), ("sum", torch.sum), ("max", torch.amax)])
def test_a_reduction_leaves_padding_out(kind, by_torch):
    _, module = made(kind, X, Shape((7,), "bool"), dim=1)
    x = torch.randn(4, *X, requires_grad=True)
    y = module(x, PADDING)
    expected = torch.stack([by_torch(one[:n], 0) for one, n in zip(x, LENGTHS, strict=True)])
    torch.testing.assert_close(y, expected)
    assert (y - by_torch(x, 1)).abs().max() > 0.1
    ours, theirs = (torch.autograd.grad(out.square().sum(), x)[0] for out in (y, expected))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("kind", ["mean", "sum", "max"])
def test_of_all_padding_a_reduction_makes_zeros_and_no_nan(kind):
    _, module = made(kind, X, Shape((7,), "bool"), dim=1)
    x = torch.randn(1, *X, requires_grad=True)
    y = module(x, torch.ones(1, 7, dtype=torch.bool))
    y.sum().backward()
    assert not y.any()
    assert not x.grad.any()


def test_a_mean_over_two_axes_with_padding_of_the_first_or_of_both():
    x, rows = torch.randn(2, 4, 3, 5), torch.tensor([[False, False, True, True], [False, True, True, True]])
    whole = rows.unsqueeze(-1).expand(2, 4, 3).contiguous()
    _, of_rows = made("mean", Shape((4, 3, 5)), Shape((4,), "bool"), dim=[1], keepdim=True)
    _, of_both = made("mean", Shape((4, 3, 5)), Shape((4, 3), "bool"), dim=[1, 2])
    _, of_inner = made("max", Shape((4, 3, 5)), Shape((4, 3), "bool"), dim=2)
    torch.testing.assert_close(of_rows(x, rows)[0, 0], x[0, :2].mean(0))
    torch.testing.assert_close(of_both(x, whole)[0], x[0, :2].mean((0, 1)))
    torch.testing.assert_close(of_inner(x, whole)[1, 0], x[1, 0].amax(0))
    assert not of_inner(x, whole)[1, 1:].any()


@pytest.mark.parametrize("kind", ["mean", "sum", "max"])
def test_the_memory_of_a_reduction_with_padding_is_that_which_torch_saves(kind):
    layer, _ = made(kind, X, Shape((7,), "bool"), dim=1)
    assert planned(layer, [X, Shape((7,), "bool")]) == saved_by_torch(layer, [X, Shape((7,), "bool")])


# --- attention ------------------------------------------------------------------------------------------------------

TOKENS, HIDES = Shape((9, 8)), Shape((9,), "bool")
ATTENTIONS = {
    "multihead": ("multihead_attention", {"num_heads": 2}, ["query", "key_padding_mask"]),
    "causal": ("multihead_attention", {"num_heads": 2, "is_causal": True}, ["query", "key_padding_mask"]),
    "local": ("multihead_attention", {"num_heads": 2, "window": 3}, ["query", "key_padding_mask"]),
    "grouped": ("multihead_attention", {"num_heads": 4, "num_kv_heads": 2}, ["query", "key_padding_mask"]),
    "dropped": ("multihead_attention", {"num_heads": 2, "dropout": 0.5}, ["query", "key_padding_mask"]),
    "linear": ("linear_attention", {"num_heads": 2}, ["query", "key", "value", "key_padding_mask"]),
    "linear, causal": (
        "linear_attention",
        {"num_heads": 2, "is_causal": True},
        ["query", "key", "value", "key_padding_mask"],
    ),
}


def attention(name):
    kind, options, takes = ATTENTIONS[name]
    named = {} if kind == "linear_attention" else {"takes": takes}
    tokens = [TOKENS] * (len(takes) - 1)
    return made(kind, *tokens, HIDES, **named, **options)[1], len(tokens)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_a_row_whose_keys_are_all_hidden_gives_no_nan_nor_do_its_gradients(name):
    module, times = attention(name)
    x = torch.randn(2, *TOKENS, requires_grad=True)
    hidden = torch.zeros(2, 9, dtype=torch.bool)
    hidden[0] = True
    y = module(*[x] * times, hidden)
    y.square().sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in module.parameters())
    bias = module.out_proj.bias if hasattr(module, "out_proj") else torch.zeros(8)
    torch.testing.assert_close(y[0], bias.expand(9, 8))


@pytest.mark.parametrize("name", [name for name in ATTENTIONS if name != "dropped"])
def test_hidden_keys_change_nothing(name):
    module, times = attention(name)
    x = torch.randn(1, *TOKENS)
    hidden = torch.arange(9).unsqueeze(0) >= 6
    other = torch.where(hidden.unsqueeze(-1), 3.0, x)
    torch.testing.assert_close(module(*[x] * times, hidden)[:, :6], module(*[other] * times, hidden)[:, :6])
    assert (module(*[x] * times, ~hidden) - module(*[x] * times, hidden)).abs().max() > 1e-3


def test_linear_attention_with_hidden_keys_is_that_of_the_others():
    module, _ = attention("linear")
    x = torch.randn(1, *TOKENS)
    kept = torch.tensor([0, 2, 3, 7])
    hidden = torch.ones(1, 9, dtype=torch.bool).index_fill(1, kept, False)
    _, bare = made("linear_attention", TOKENS, Shape((4, 8)), Shape((4, 8)), num_heads=2)
    torch.testing.assert_close(module(x, x, x, hidden), bare(x, x[:, kept], x[:, kept]))


def test_linear_attention_step_by_step_leaves_the_same_keys_out():
    from dlx.modules.steps import Cache

    module, _ = attention("linear, causal")
    x, cache = torch.randn(1, *TOKENS), Cache()
    hidden = torch.arange(9).unsqueeze(0) < 4
    steps = [
        module.step(x[:, t : t + 1], x[:, t : t + 1], x[:, t : t + 1], hidden[:, : t + 1], cache=cache)
        for t in range(9)
    ]
    torch.testing.assert_close(torch.cat(steps, 1), module(x, x, x, hidden))


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"window": 2}, {"rotary": {"base": 10000}}])
def test_tokens_attend_within_their_own_document(options):
    options = {"num_heads": 2, **options}
    numbers = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1, 2]])
    _, ours = made("multihead_attention", TOKENS, Shape((9,), "int"), takes=["query", "document"], **options)
    _, whole = made("multihead_attention", TOKENS, **options)
    whole.load_state_dict(ours.state_dict())
    x = torch.randn(1, *TOKENS)
    y = ours(x, numbers)
    for first, last in ((0, 4), (4, 8), (8, 9)):
        _, alone = made("multihead_attention", Shape((last - first, 8)), **options)
        own = {name: value for name, value in ours.state_dict().items() if "rotary" not in name}
        alone.load_state_dict(own, strict=False)
        torch.testing.assert_close(y[:, first:last], alone(x[:, first:last]), atol=1e-5, rtol=1e-4)
    assert (y - whole(x)).abs().max() > 1e-3


def test_given_queries_keys_and_values_attend_within_their_own_document_too():
    numbers = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1, 2]])
    takes = ["query", "key", "value", "attn_mask", "document"]
    xs = (TOKENS, TOKENS, TOKENS, Shape((9, 9), "bool"), Shape((9,), "int"))
    _, ours = made("scaled_dot_product_attention", *xs, takes=takes, num_heads=2)
    _, alone = made("scaled_dot_product_attention", *[Shape((4, 8))] * 3, num_heads=2, is_causal=True)
    x, causal = torch.randn(1, *TOKENS), torch.ones(1, 9, 9, dtype=torch.bool).tril()
    torch.testing.assert_close(ours(x, x, x, causal, numbers)[:, 4:8], alone(*[x[:, 4:8]] * 3))


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "xs", "sentence"),
    [
        (
            "gru",
            {"hidden_size": 5, "takes": ["input", "lengths"]},
            [X, Shape((7,), "int")],
            "the lengths of gru, (7,) of dtype int, should be a whole number, how many of the steps are real",
        ),
        (
            "lstm",
            {"hidden_size": 5, "takes": ["input", "document"]},
            [X, Shape((7,), "bool")],
            "the document of lstm, (7,) of dtype bool, should be a whole number for each step",
        ),
        (
            "lstm",
            {"hidden_size": 5, "takes": ["input", "c_0"]},
            [X, Shape((5,))],
            "lstm takes cells to begin at, `c_0`, only beside a state, `h_0`",
        ),
        (
            "mean",
            {"dim": 1},
            [X, Shape((3,), "bool")],
            "the padding of mean over dim = [1], (3,) of dtype bool, has no truth value for each position of (7, 3)",
        ),
        (
            "max",
            {"dim": 1},
            [X, Shape((7,))],
            "the padding of max over dim = [1], (7,) of dtype float, has no truth value for each position of (7, 3)",
        ),
        (
            "linear_attention",
            {},
            [TOKENS, TOKENS, TOKENS, Shape((9,))],
            "the key_padding_mask of linear_attention, (9,), holds floats, and it has no scores to add them to",
        ),
        (
            "multihead_attention",
            {"num_heads": 2, "takes": ["query", "document"]},
            [TOKENS, Shape((9,), "bool")],
            (
                "the document of multihead_attention, (9,), holds no whole number for each of the 9 tokens, which "
                "attend to themselves"
            ),
        ),
        (
            "scaled_dot_product_attention",
            {"takes": ["query", "document"]},
            [TOKENS, Shape((9,), "int")],
            "attention takes query, key and value, and `attn_mask` or `document` beside them, not query, document",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_both_sides(kind, options, xs, sentence):
    assert refusal(kind, options, xs)[0] == sentence
