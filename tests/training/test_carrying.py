"""States that go on from window to window: against a loop by hand, resumed, evaluated; and what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlx.errors import SpecError
from dlx.experiment import packing, runner, session
from dlx.lazy import F, nn, torch
from dlx.spec import load
from dlx.trained.predict import predict
from dlx.training.batches.windows import Streams
from dlx.training.fit import evaluate, updates
from dlx.training.learner import Learner
from dlx.training.prepared import prepare
from dlx.training.supervised import SupervisedLearner

TEXT = "".join("abcdefgh"[(i * i + i // 7) % 8] for i in range(163))
LAYERS = "[{one_hot: 8}, {KIND: 6}, {linear: 8}]"


def spec(folder: Path, kind: str = "lstm", more: str = "", **data: object):
    options = {"content": f"'{TEXT}'", "window": 5, "carry": "true", "valid": 41, **data}
    path = folder / "a.yaml"
    path.write_text(
        f"dlx: 1\nname: a\ndata: {{text: {{{', '.join(f'{k}: {v}' for k, v in options.items())}}}}}\n"
        f"network: {{layers: {LAYERS.replace('KIND', kind)}}}\n"
        f"train: {{epochs: 2, batch_size: 4, optimizer: {{sgd: 0.5}}{more}}}\ntrack: {{mlflow: false}}\n"
    )
    return path


def job_of(path: Path, *overrides: str):
    return session.job_of(prepare(load(path, overrides)))


def by_hand(rnn, linear, text: str, streams: int, window: int = 5):
    """Yield inputs, targets and the beginnings of each step, stream by stream, as plain lists of characters."""
    names = sorted(set(TEXT))
    numbers = [names.index(letter) for letter in text]
    begins = list(range(0, len(numbers) - 1, window))
    length, longer = divmod(len(begins), streams)
    pieces, at = [], 0
    for s in range(streams):
        count = length + (s < longer)
        pieces.append(begins[at : at + count])
        at += count
    for t in range(max(map(len, pieces))):
        rows = [piece[t] for piece in pieces if t < len(piece)]
        x = torch.zeros(len(rows), window, dtype=torch.long)
        y = torch.full((len(rows), window), -100)
        for row, i in enumerate(rows):
            x[row, : len(numbers[i : i + window])] = torch.tensor(numbers[i : i + window])
            y[row, : len(numbers[i + 1 : i + 1 + window])] = torch.tensor(numbers[i + 1 : i + 1 + window])
        yield x, y, t == 0


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_training_is_truncated_back_propagation_by_hand(tmp_path, kind):
    """torch's own layer in a plain loop over streams, its state detached after each window: the same losses."""
    job = job_of(spec(tmp_path, kind))
    rnn = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[kind](8, 6, batch_first=True)
    linear = nn.Linear(6, 8)
    ours = dict(job.network.named_parameters())
    with torch.no_grad():
        for module, name in ((rnn, f"{kind}_1"), (linear, "linear_1")):
            for part, weight in module.named_parameters():
                weight.copy_(ours[f"{name}.{part}"])
    weights = [*rnn.parameters(), *linear.parameters()]
    optimizer = torch.optim.SGD(weights, 0.5)
    losses: list[torch.Tensor] = []
    steps = updates(job, losses)
    for _ in range(2):
        for x, y, first in by_hand(rnn, linear, TEXT[:122], 4):
            state = None if first else state  # noqa: F821
            if state is not None:
                state = (
                    tuple(s[:, : len(x)].detach() for s in state) if kind == "lstm" else state[:, : len(x)].detach()
                )
            out, state = rnn(F.one_hot(x, 8).float(), state)
            loss = F.cross_entropy(linear(out).flatten(0, 1), y.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            next(steps)
            assert losses[-1] == pytest.approx(loss.item(), rel=1e-4)
    assert len(losses) == 2 * 7

    total = count = 0.0
    with torch.no_grad():
        for x, y, first in by_hand(rnn, linear, TEXT[122:], 4):
            state = None if first else state
            if state is not None:
                state = tuple(s[:, : len(x)] for s in state) if kind == "lstm" else state[:, : len(x)]
            out, state = rnn(F.one_hot(x, 8).float(), state)
            total += float(F.cross_entropy(linear(out).flatten(0, 1), y.flatten(), reduction="sum"))
            count += int((y >= 0).sum())
    held = {name: state.clone() for name, state in job.learner.carried.items()}
    assert evaluate(job, "valid")["valid/loss"] == pytest.approx(total / count, rel=1e-4)
    assert all(state.equal(held[name]) for name, state in job.learner.carried.items()), "an evaluation moved a state"


def test_without_carry_the_same_windows_have_another_loss(tmp_path):
    """The broken twin: states that begin at zeros in each window."""
    found = []
    for carry in ("true", "false"):
        job = job_of(spec(tmp_path, carry=carry), "train.shuffle=false")
        found.append(evaluate(job, "valid")["valid/loss"])
    assert found[0] != pytest.approx(found[1], rel=1e-6)


def test_the_state_is_zero_where_a_document_begins(tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.txt").write_text("abcdefgh" * 2)
    job = job_of(spec(tmp_path, content="null", path=".", valid="null", window=6), "train.batch_size=2")
    part = job.parts["train"]
    batches = [part.take(index) for index in [part.streams_of[i : i + 2] for i in range(0, 12, 2)]]
    assert [batch["begins"].tolist() for batch in batches] == [[True] * 2, [False] * 2, [False] * 2] * 2


def test_streams_are_runs_of_windows_and_leave_none_out():
    order = Streams(11, 4)
    assert order[:].tolist() == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8]
    assert order[4:7].tolist() == [1, 4, 7]
    assert sorted(Streams(40, 7)[:].tolist()) == list(range(40))


def test_replayed_steps_have_the_bits_of_plain_ones(tmp_path):
    more = ["train.epochs=12", "network.layers.0={embedding: {embedding_dim: 8}}"]
    found = [
        runner.run(load(spec(tmp_path), [f"train.trace={way}", *more]), tmp_path / way).results[0]
        for way in ("true", "false")
    ]
    assert found[0].run.lock()["way"]["step"] == "replayed"
    assert found[0].metrics == found[1].metrics


def test_a_resumed_training_goes_on_with_its_states(tmp_path):
    whole = runner.run(load(spec(tmp_path), ["train.epochs=3"]), tmp_path / "whole").results[0]
    prepared = prepare(load(spec(tmp_path), ["train.epochs=3"]))
    folder = session.new_run(prepared, tmp_path / "halved")
    session.train_run(session.RunRecorder(folder), prepared, session.Session(until=10))
    _, again = runner.resume(folder)
    assert again.results[0].metrics == whole.metrics


def test_without_its_states_a_resumed_training_has_other_weights(tmp_path, monkeypatch):
    """The broken twin of the one above."""
    whole = runner.run(load(spec(tmp_path), ["train.epochs=3"]), tmp_path / "whole").results[0]
    prepared = prepare(load(spec(tmp_path), ["train.epochs=3"]))
    folder = session.new_run(prepared, tmp_path / "halved")
    session.train_run(session.RunRecorder(folder), prepared, session.Session(until=10))
    monkeypatch.setattr(SupervisedLearner, "load", Learner.load)
    _, again = runner.resume(folder)
    assert again.results[0].metrics != whole.metrics


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["train.shuffle=true"], "`shuffle: true` takes them in a new order, and `carry: true` .* goes on from each"),
        (["train.batch_size=all"], "`batch_size: all` makes a stream of each"),
        (["train.bootstrap=true"], "`bootstrap` draws them"),
        (["train.optimizer=lbfgs"], "lbfgs looks at the loss of one window more than once"),
        (["train.batch_size=20"], "the part `valid` has 8 windows, and `batch_size` makes 20 streams of it"),
        (
            ["network.layers.1={lstm: {hidden_size: 6, bidirectional: true}}"],
            "lstm runs from the last token to the first",
        ),
        (["network.layers.1={linear: 6}"], "goes on with the states of `rnn`, `lstm` and `gru` that are not wired"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_does_not_fit_is_told_before_training(tmp_path, overrides, sentence):
    with pytest.raises(SpecError, match=sentence) as told:
        job_of(spec(tmp_path), *overrides)
    assert all("a.yaml" in str(p) for p in told.value.problems)


def test_seeds_are_trained_one_after_the_other_and_say_so(tmp_path):
    carried = prepare(load(spec(tmp_path)))
    assert "one after the other" in packing.with_packing_note(carried).sets.notes[-1]
    apart = prepare(load(spec(tmp_path, carry="false")))
    assert packing.packing_key(apart) is not None
    assert packing.with_packing_note(apart) is apart


@pytest.mark.parametrize("carry", ["true", "false"])
def test_predict_tells_that_it_begins_each_window_at_zeros(tmp_path, carry):
    (done,) = runner.run(load(spec(tmp_path, carry=carry), ["train.epochs=1"]), tmp_path).results
    (tmp_path / "new.txt").write_text(TEXT[:20])
    found = predict(done.run, tmp_path / "new.txt")
    assert ["zeros" in note for note in found.notes] == ([True] if carry == "true" else [])
    assert ("notes" in found.as_json()) == (carry == "true")


def test_some_of_a_part_are_the_first_windows_of_each_stream(tmp_path):
    job = job_of(spec(tmp_path))
    part, network = job.parts["train"], job.network.eval()

    whole, some = list(part.answers(network, 100)), list(part.evenly(8).answers(network, 100))
    assert [len(batch) for _, batch in some] == [4, 4]
    assert len(whole) == 7
    for (outputs, batch), (expected, other) in zip(some, whole[:2], strict=True):
        torch.testing.assert_close((outputs, batch.y), (expected, other.y), rtol=0, atol=0)
