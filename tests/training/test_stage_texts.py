"""Texts that a language model writes at stages of its training: what they are, and that they change nothing."""

from __future__ import annotations

import json

import pytest
from helpers import experiment_of

from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.experiment.recorder import RunRecorder
from dlx.experiment.session import Session, new_run, train_run
from dlx.runs.folder import RunFolder
from dlx.spec import Experiment
from dlx.trained.sampling.sample import sample
from dlx.training.prepared import prepare

TEXT = "".join("abcdefgh \n"[(i * i + i // 7) % 10] for i in range(300))
SPEC = """
dlx: 1
name: writer
data: {text: {content: CONTENT, window: 8, valid: 60, carry: CARRY}}
network: {layers: [{embedding: {embedding_dim: 8}}, LAYER, dropout, {linear: "${data.vocabulary}"}]}
objective: language
train: {steps: 25, batch_size: 4, evaluate_every: 6, optimizer: {adam: 0.05}MORE}
track: {mlflow: false}
"""
GPT = "{multihead_attention: {num_heads: 2, is_causal: true}}"


def spec(more: str = "", carry: str = "false", layer: str = "{lstm: 8}") -> Experiment:
    text = SPEC.replace("MORE", more).replace("CARRY", carry).replace("LAYER", layer)
    return experiment_of(text.replace("CONTENT", json.dumps(TEXT)))


def texts(folder: RunFolder) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((folder.dir / "artifacts" / "samples").iterdir())}


def weights(folder: RunFolder) -> bytes:
    return (folder.dir / "checkpoints" / "final.safetensors").read_bytes()


def test_texts_are_written_at_the_stages_and_at_the_end(tmp_path):
    (done,) = runner.run(spec(", samples: {every: 10, n: 12, prompt: abc}"), tmp_path).results
    found = texts(done.run)
    assert list(found) == ["step-000010.txt", "step-000020.txt", "step-000025.txt"]
    assert all(text.startswith("abc") and len(text) == 15 for text in found.values())
    assert len(set(found.values())) > 1
    # the last one is what the finished run writes
    assert sample(done.run, n=12, prompt="abc").samples[0].whole == found["step-000025.txt"]


@pytest.mark.parametrize(("carry", "layer"), [("false", GPT), ("true", "{lstm: 8}")])
@pytest.mark.parametrize("seeds", [1, 2])
def test_they_change_no_bit_of_the_training(tmp_path, carry, layer, seeds):
    more = f", seeds: {seeds}"
    plain = runner.run(spec(more, carry, layer), tmp_path).results
    writing = runner.run(spec(f"{more}, samples: 7", carry, layer), tmp_path).results
    assert [weights(one.run) for one in plain] == [weights(one.run) for one in writing]
    assert [one.metrics for one in plain] == [one.metrics for one in writing]
    assert all(len(texts(one.run)) == 4 for one in writing)


def test_a_run_that_goes_on_writes_the_same_texts(tmp_path):
    asked = spec(", samples: 7, save_every: 5", "true")
    prepared = prepare(asked)
    folders = [new_run(prepared, tmp_path) for _ in range(2)]
    train_run(RunRecorder(folders[0]), prepared, Session())
    train_run(RunRecorder(folders[1]), prepared, Session(until=16))
    assert len(texts(folders[1])) == 2
    for path in (folders[1].dir / "artifacts" / "samples").iterdir():
        path.unlink()  # as a kill before they were written leaves it
    runner.resume(folders[1])
    assert texts(folders[1]) == dict(list(texts(folders[0]).items())[2:])
    assert weights(folders[1]) == weights(folders[0])


def test_the_text_is_of_the_averaged_weights(tmp_path):
    """With an average of the weights the text at the end is that of the kept weights, which `dlx sample` loads."""
    (done,) = runner.run(spec(", samples: 25, average: {ema: 0.9}"), tmp_path).results
    assert sample(done.run, n=200).samples[0].whole == texts(done.run)["step-000025.txt"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (
            ", samples: {every: 5, prompt: 'axyz'}",
            "the prompt has 'x' at character 2, which is not in the vocabulary",
        ),
        (", samples: {every: 5, prompt: abcabcabc}", "the prompt has 9 tokens, and the network sees 8 at once"),
        (", samples: {n: 5}", "every"),
    ],
)
def test_what_does_not_fit_is_told_before_training(tmp_path, more, says):
    with pytest.raises(SpecError, match=says):
        runner.run(spec(more), tmp_path)
    assert not list(tmp_path.iterdir())


def test_other_objectives_write_no_texts(tmp_path):
    digits = "dlx: 1\ndata: digits\nnetwork: {layers: [flatten, {linear: 10}]}\ntrain: {epochs: 1, samples: 5}\n"
    with pytest.raises(
        SpecError, match="`samples` are texts of a language model or what an objective makes, and classification"
    ):
        runner.run(experiment_of(digits), tmp_path)
