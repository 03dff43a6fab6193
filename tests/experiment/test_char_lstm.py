"""A character model of Shakespeare against the same loop by hand, and against what knows less."""

import math

import pytest
import torch
from helpers import SHIPPED
from quality import bits_of_counts
from torch import nn

from dlx.experiment import runner
from dlx.spec import load

BITS = 2.30
"""Bits a character on the last tenth that a network of this size has to reach."""
STREAMS, WINDOW, STEPS = 32, 64, 5000


def by_hand(text: str) -> float:
    """Train an LSTM of 128 in plain torch; return the bits a character on the last tenth of the text."""
    cut = len(text) - round(len(text) * 0.1)
    names = sorted(set(text))
    number = {name: i for i, name in enumerate(names)}
    tokens = torch.tensor([number[one] for one in text])
    torch.manual_seed(1)
    embedding, lstm, head = nn.Embedding(len(names), 64), nn.LSTM(64, 128), nn.Linear(128, len(names))
    weights = [*embedding.parameters(), *lstm.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(weights, lr=4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    width = (cut - 1) // STREAMS
    starts = torch.arange(STREAMS) * width
    state, at = None, 0
    for _ in range(STEPS):
        if at + WINDOW > width:
            state, at = None, 0
        place = starts + at + torch.arange(WINDOW).unsqueeze(1)
        y, state = lstm(embedding(tokens[place]), state)
        state = tuple(one.detach() for one in state)
        loss = nn.functional.cross_entropy(head(y).flatten(0, 1), tokens[place + 1].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        at += WINDOW
    with torch.no_grad():
        rest = tokens[cut:]
        y, _ = lstm(embedding(rest[:-1]).unsqueeze(1))
        return float(nn.functional.cross_entropy(head(y).squeeze(1), rest[1:])) / math.log(2)


@pytest.mark.slow
def test_an_lstm_of_128_tells_shakespeare_in_2_3_bits_as_the_same_loop_by_hand_does(shared_data, tmp_path):
    path = shared_data / "tinyshakespeare.txt"
    spec = [
        f"data.text.path={path}",
        "data.text.unknown=error",
        "track.mlflow=false",
        "~expect",
        f"train.steps={STEPS}",
    ]

    def bits(*changes: str) -> float:
        found = runner.run(load(SHIPPED["zoo/char-lstm"], [*spec, *changes]), tmp_path).results[0]
        return found.metrics["test/bits_per_character"]

    text = path.read_text()
    trained, hand, once, letters = bits(), by_hand(text), bits("train.steps=1"), bits_of_counts(text)
    print(f"dlx {trained:.4f}, by hand {hand:.4f}, one step {once:.2f}, two letters back {letters:.3f}")
    assert trained <= BITS
    assert abs(trained - hand) <= 0.03
    assert once > BITS
    assert letters > BITS
