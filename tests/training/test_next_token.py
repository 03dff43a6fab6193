"""A network that is run token by token gives what it gives for whole windows; tokens come by their probabilities."""

from itertools import product

import numpy as np
import pytest
import torch
from helpers import network_of
from scipy import stats

from dlx.errors import DlxError
from dlx.network import build
from dlx.training.generation.decoding import Decoding, beam_search, sampled_texts
from dlx.training.generation.next_token import Steps, Windows, next_token

WINDOW, TOKENS = 12, 7

ATTENTION = """
- embedding: {{num_embeddings: 7, embedding_dim: 16}}
{positions}
- repeat:
    times: 2
    layers:
      - residual: {{layers: [layer_norm, {{multihead_attention: {{num_heads: 4, is_causal: true{more}}}}}]}}
      - residual: {{layers: [layer_norm, {{linear: 32}}, gelu, {{linear: 16}}]}}
- linear: 7
"""
LAYERS = {
    "learned positions": ATTENTION.format(positions="- position_embedding", more=""),
    "sinusoidal positions": ATTENTION.format(positions="- positional_encoding", more=""),
    "rotary positions": ATTENTION.format(positions="", more=", rotary: 10000"),
    "few heads of keys": ATTENTION.format(positions="- position_embedding", more=", num_kv_heads: 2"),
    "a window of attention": ATTENTION.format(positions="- position_embedding", more=", window: 5"),
    "positions as a parameter": """
- embedding: {num_embeddings: 7, embedding_dim: 16}
- {name: places, parameter: {shape: [12, 16], std: 1}, from: tokens}
- add:
  from: [embedding_1, places]
- multihead_attention: {num_heads: 2, is_causal: true}
- linear: 7
""",
    "queries, keys and values by hand": """
- {embedding: {num_embeddings: 7, embedding_dim: 16}, name: words}
- {linear: 16, name: queries, from: words}
- {linear: 16, name: keys, from: words}
- {linear: 16, name: values, from: words}
- scaled_dot_product_attention: {num_heads: 2, is_causal: true}
  from: [queries, keys, values]
- linear: 7
""",
}
STATES = {
    "an LSTM": """
- embedding: {num_embeddings: 7, embedding_dim: 16}
- lstm: {hidden_size: 8, num_layers: 2}
- linear: 7
""",
    "a GRU": "- embedding: {num_embeddings: 7, embedding_dim: 16}\n- gru: 8\n- linear: 7",
    "causal convolutions": """
- embedding: {num_embeddings: 7, embedding_dim: 16}
- permute: [2, 1]
- conv: {out_channels: 8, kernel_size: 3, padding: causal}
- tanh
- conv: {out_channels: 7, kernel_size: 3, dilation: 2, padding: causal}
- permute: [2, 1]
""",
}
WHOLE = {
    "convolution along time": """
- embedding: {num_embeddings: 7, embedding_dim: 16}
- permute: [2, 1]
- pad: {padding: [2, 0]}
- conv: {out_channels: 7, kernel_size: 3}
- permute: [2, 1]
""",
    "a token before all others": """
- embedding: {num_embeddings: 7, embedding_dim: 16}
- {name: first, parameter: {shape: [1, 16], std: 1}, from: tokens}
- concat: {dim: 1}
  from: [first, embedding_1]
- multihead_attention: {num_heads: 2, is_causal: true}
- slice: {dim: 1, start: 1}
- linear: 7
""",
}


def network(layers: str):
    graph = network_of(f"{{tokens: {{shape: [{WINDOW}], dtype: int}}}}", layers)
    torch.manual_seed(0)
    return build(graph).eval()


def same(outputs):
    return outputs


def steps(layers: str) -> Steps:
    return Steps(network(layers), same, WINDOW)


def windows(layers: str) -> Windows:
    return Windows(network(layers), same, WINDOW)


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("name", {**LAYERS, **STATES})
def test_steps_give_what_a_window_gives(name):
    layers = {**LAYERS, **STATES}[name]
    tokens = torch.randint(TOKENS, (3, WINDOW), generator=torch.Generator().manual_seed(1))
    expected = network(layers)(tokens)
    model = steps(layers)
    given = torch.stack([model.append(piece) for piece in tokens.split([4, 1, 1, 3, 1, 2], 1)], 1)
    torch.testing.assert_close(given, expected[:, [3, 4, 5, 8, 9, 11]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", {**LAYERS, **STATES})
def test_steps_are_taken_where_they_are_right(name):
    model = next_token(network({**LAYERS, **STATES}[name]), same, WINDOW, TOKENS)
    assert isinstance(model, Steps)
    model.append(torch.zeros(1, 2, dtype=torch.long))
    assert model.counts_tokens == (name in LAYERS)


@pytest.mark.parametrize("name", STATES)
def test_a_state_goes_on_beyond_the_window(name):
    tokens = torch.randint(TOKENS, (1, 3 * WINDOW), generator=torch.Generator().manual_seed(3))
    expected = network(STATES[name])(tokens)[:, -1]
    model = steps(STATES[name])
    for piece in tokens.split(5, 1):
        logits = model.append(piece)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", WHOLE)
def test_whole_windows_pass_where_a_layer_sees_other_tokens_in_a_way_that_no_step_knows(name):
    model = next_token(network(WHOLE[name]), same, WINDOW, TOKENS)
    assert isinstance(model, Windows)
    tokens = torch.randint(TOKENS, (2, WINDOW), generator=torch.Generator().manual_seed(1))
    expected = network(WHOLE[name])(tokens)
    torch.testing.assert_close(model.append(tokens[:, :5]), expected[:, 4])
    torch.testing.assert_close(model.append(tokens[:, 5:6]), expected[:, 5])


def test_a_layer_that_is_not_causal_is_not_run_by_steps():
    layers = LAYERS["learned positions"].replace("is_causal: true", "is_causal: false")
    assert isinstance(next_token(network(layers), same, WINDOW, TOKENS), Windows)


def test_beyond_the_window_the_later_half_of_it_is_read_anew():
    layers = LAYERS["learned positions"]
    tokens = torch.randint(TOKENS, (1, WINDOW + 1), generator=torch.Generator().manual_seed(2))
    model = steps(layers)
    model.append(tokens[:, :WINDOW])
    given = model.append(tokens[:, WINDOW:])
    torch.testing.assert_close(given, steps(layers).append(tokens[:, -WINDOW // 2 :]), rtol=1e-4, atol=1e-5)
    for _ in range(3 * WINDOW):
        assert model.append(tokens[:, :1]).isfinite().all()


def test_a_text_is_the_same_by_steps_and_by_windows_and_however_many_are_drawn():
    layers, prompt = LAYERS["rotary positions"], torch.tensor([[1, 2, 3]])
    three = sampled_texts(steps(layers), prompt, 9, Decoding(), [0, 1, 2])
    assert [one.tokens for one in sampled_texts(windows(layers), prompt, 9, Decoding(), [0, 1, 2])] == [
        o.tokens for o in three
    ]
    (alone,) = sampled_texts(steps(layers), prompt, 9, Decoding(), [1])
    assert alone.tokens == three[1].tokens
    assert len({one.tokens for one in three}) == 3


class Fixed:
    """Gives the same logits whatever came before."""

    def __init__(self, logits) -> None:
        self.logits = torch.tensor(logits)

    def append(self, tokens):
        return self.logits.expand(len(tokens), -1)

    def reorder(self, rows):
        pass


def counts(draw: Decoding, logits) -> np.ndarray:
    made = sampled_texts(Fixed(logits), torch.zeros(1, 1, dtype=torch.long), 4000, draw, [0])
    return np.bincount(made[0].tokens, minlength=len(logits))


def test_tokens_come_as_often_as_their_probabilities_say():
    probabilities = np.array([0.5, 0.2, 0.2, 0.1])
    found = counts(Decoding(), np.log(probabilities).tolist())
    assert stats.chisquare(found, 4000 * probabilities).pvalue > 0.01
    assert stats.chisquare(found, 4000 * np.array([0.4, 0.3, 0.2, 0.1])).pvalue < 1e-10  # a test that can fail


def test_a_temperature_divides_the_logits():
    probabilities = np.array([0.5, 0.2, 0.2, 0.1])
    warm = np.sqrt(probabilities) / np.sqrt(probabilities).sum()
    found = counts(Decoding(temperature=2.0), np.log(probabilities).tolist())
    assert stats.chisquare(found, 4000 * warm).pvalue > 0.01


def test_the_most_probable_token_is_taken_at_temperature_zero():
    assert counts(Decoding(temperature=0), [0.1, 0.4, 0.3]).tolist() == [0, 4000, 0]


def test_top_k_and_top_p_keep_the_most_probable_tokens_with_their_ratios():
    logits = torch.log(torch.tensor([[0.1, 0.4, 0.3, 0.2]]))
    assert Decoding(top_k=2).probabilities(logits)[0].tolist() == pytest.approx([0, 4 / 7, 3 / 7, 0])
    assert Decoding(top_p=0.69).probabilities(logits)[0].tolist() == pytest.approx([0, 4 / 7, 3 / 7, 0])
    assert Decoding(top_p=0.71).probabilities(logits)[0].tolist() == pytest.approx([0, 4 / 9, 3 / 9, 2 / 9])
    assert Decoding(top_p=1e-9).probabilities(logits)[0].tolist() == [0, 1, 0, 0]
    assert Decoding(top_k=9).probabilities(logits)[0].tolist() == pytest.approx([0.1, 0.4, 0.3, 0.2])


def test_the_probability_of_a_text_is_the_product_of_those_of_its_tokens():
    layers, prompt = LAYERS["learned positions"], torch.tensor([[1, 2, 3]])
    (made,) = sampled_texts(steps(layers), prompt, 6, Decoding(temperature=0.5), [0])
    tokens = torch.tensor([[1, 2, 3, *made.tokens]])
    logits = network(layers)(torch.nn.functional.pad(tokens, (0, WINDOW - 9)))[0, 2:8].double()
    expected = logits.log_softmax(-1).gather(1, tokens[0, 3:, None]).sum()
    assert made.log_probability == pytest.approx(float(expected), abs=1e-5)


def log_probabilities(layers: str, prompt: list[int], texts: list[tuple[int, ...]]) -> list[float]:
    """Those of texts of one length after a prompt, token by token of what the network gives for each whole text."""
    tokens = torch.tensor([[*prompt, *text] for text in texts])
    logits = network(layers)(torch.nn.functional.pad(tokens, (0, WINDOW - tokens.shape[1])))
    told = logits[:, len(prompt) - 1 : -1 if tokens.shape[1] == WINDOW else tokens.shape[1] - 1].double()
    return told.log_softmax(-1).gather(2, torch.tensor(texts)[:, :, None]).sum((1, 2)).tolist()


def test_a_wide_beam_finds_the_most_probable_of_all_texts_and_a_narrow_one_takes_the_best_token_each_time():
    layers = LAYERS["learned positions"].replace("- linear: 7", "- linear: 7\n- scale: 9")
    prompt = [1, 2]
    texts = list(product(range(TOKENS), repeat=3))
    every = dict(zip(texts, log_probabilities(layers, prompt, texts), strict=True))
    best = max(every, key=every.get)
    found = beam_search(steps(layers), torch.tensor([prompt]), 3, TOKENS**2)
    assert found.tokens == best
    assert found.log_probability == pytest.approx(every[best], abs=1e-4)
    (greedy,) = sampled_texts(steps(layers), torch.tensor([prompt]), 3, Decoding(temperature=0), [0])
    assert beam_search(steps(layers), torch.tensor([prompt]), 3, 1).tokens == greedy.tokens


@pytest.mark.parametrize(
    ("draw", "sentence"),
    [
        (Decoding(temperature=-1), "the temperature is -1"),
        (Decoding(temperature=float("nan")), "the temperature is nan"),
        (Decoding(top_k=0), "--top-k is 0"),
        (Decoding(top_p=0), "--top-p is 0"),
        (Decoding(top_p=1.5), "--top-p is 1.5"),
    ],
)
def test_numbers_that_name_no_way_to_draw_are_told(draw, sentence):
    with pytest.raises(DlxError, match=sentence):
        draw.check()
