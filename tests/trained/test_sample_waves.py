"""`dlx sample` of networks that tell the class of the next value of a wave."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import dlx
from scipy.io import wavfile

import dlx as api
from dlx.data.generated.mu_law import decoded, encoded
from dlx.errors import DlxError

CLASSES = 32
SPEC = """
dlx: 1
name: {name}
data: {{waves: {{length: 96, components: 1, low: 0.05, high: 0.05, mu_law: 32, train: 60, valid: 0, test: 10}}}}
network:
  layers:
    - {{conv: {{out_channels: 24, kernel_size: 2, padding: {padding}}}}}
    - relu
    - {{conv: {{out_channels: 24, kernel_size: 2, dilation: 2, padding: causal}}}}
    - relu
    - {{conv: {{out_channels: 32, kernel_size: 2, dilation: 4, padding: causal}}}}
objective: segmentation
train: {{steps: {steps}, batch_size: 20, optimizer: {{adam: 1e-2}}, device: cpu}}
track: {{mlflow: false}}
"""


def trained(folder: Path, name: str, steps: int, padding: str = "causal"):
    path = folder / f"{name}.yaml"
    path.write_text(SPEC.format(name=name, steps=steps, padding=padding))
    return dlx("train", path.name, cwd=folder)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a run that knows its waves, one that knows nothing, and a wave to go on with."""
    folder = tmp_path_factory.mktemp("home")
    assert trained(folder, "sine", 150).returncode == 0
    assert trained(folder, "untrained", 1).returncode == 0
    np.save(folder / "begun.npy", wave(40))
    return folder


def wave(n: int, start: int = 0):
    """A sine of 0.05 turns a step, as the network was trained on."""
    return np.sin(2 * np.pi * 0.05 * np.arange(start, start + n) + 0.3)


def test_a_network_that_knows_its_waves_goes_on_with_one_and_an_untrained_one_does_not(home):
    words = ("--prompt", "begun.npy", "--n", "40", "--temperature", "0", "--json")
    found = json.loads(dlx("sample", "sine", *words, cwd=home).stdout)
    assert (found["way"], found["prompt"]) == ("steps", "begun.npy")
    assert found["samples"][0]["values"] == pytest.approx(wave(40, 40), abs=0.3)
    other = json.loads(dlx("sample", "untrained", *words, cwd=home).stdout)
    assert np.abs(other["samples"][0]["values"] - wave(40, 40)).max() > 0.6


def test_the_table_has_a_line_a_step_and_the_same_seed_gives_the_same_wave(home):
    words = ("sample", "sine", "--n", "30", "--samples", "3", "--seed", "5")
    found = dlx(*words, cwd=home)
    assert found.stderr == "no --prompt: it begins after silence\n"
    assert found.stdout == dlx(*words, cwd=home).stdout
    title, *lines = found.stdout.splitlines()
    assert title == "seed 5,seed 6,seed 7"
    table = np.array([line.split(",") for line in lines], float)
    assert table.shape == (30, 3)
    assert len({tuple(column) for column in table.T}) == 3
    alone = dlx("sample", "sine", "--n", "30", "--seed", "6", cwd=home).stdout.splitlines()[1:]
    assert np.array(alone, float).tolist() == table[:, 1].tolist()


def test_a_wave_goes_on_beyond_the_length_of_the_training_as_it_does_when_the_whole_passes(home):
    """The network by hand, over all 200 values at once, makes each most probable class of the one before."""
    found = api.sample("sine", 200, prompt=home / "begun.npy", temperature=0, runs=home / "runs")
    assert found.run.name == "sine"
    (made,) = found.samples
    network = api.open_run("sine", runs=home / "runs").model
    known = [*encoded(wave(40), CLASSES), *made.tokens]
    with torch.inference_mode():
        x = torch.from_numpy(decoded(np.array(known), CLASSES).astype(np.float32))[None, None]
        classes = network(x).argmax(1)[0, 39:-1].tolist()
    assert classes == list(made.tokens)


@pytest.mark.parametrize("suffix", ["wav", "npy", "csv"])
def test_a_file_holds_the_wave_and_can_be_gone_on_with(home, suffix):
    file = f"out.{suffix}"
    found = dlx("sample", "sine", "--n", "50", "--output", file, "--rate", "8000", cwd=home)
    assert "1 wave of 50 steps is written to" in found.stderr
    assert found.stdout == ""
    (expected,) = api.sample("sine", 50, runs=home / "runs").waves
    if suffix == "wav":
        rate, values = wavfile.read(home / file)
        assert (rate, values.dtype) == (8000, np.int16)
        assert values / 32767 == pytest.approx(expected, abs=2e-5)
    prompt = json.loads(dlx("sample", "sine", "--n", "3", "--prompt", file, "--json", cwd=home).stdout)
    memory = api.sample("sine", 3, prompt=expected, runs=home / "runs")
    assert prompt["samples"][0]["tokens"] == list(memory.samples[0].tokens)


def test_with_echo_the_prompt_comes_before_it(home):
    whole = dlx("sample", "sine", "--n", "2", "--prompt", "begun.npy", "--echo", cwd=home).stdout.splitlines()[1:]
    assert len(whole) == 42
    assert np.array(whole[:40], float) == pytest.approx(decoded(encoded(wave(40), CLASSES), CLASSES), abs=1e-6)


def test_python_gives_a_frame_and_arrays(home):
    found = api.sample("sine", 20, samples=2, seed=3, runs=home / "runs")
    assert found.frame.shape == (20, 2)
    assert list(found.frame.columns) == ["seed 3", "seed 4"]
    assert "2 waves after silence" in repr(found)
    assert "bits a token" in found._repr_html_()
    assert found.texts == ()
    found.write(home / "both.npy")
    assert np.load(home / "both.npy").shape == (2, 20)


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        (["--prompt", "none.npy"], ["the prompt none.npy cannot be read: no such file"]),
        (["--prompt", "sine.yaml"], ["the prompt sine.yaml is no wave: it ends in .yaml", ".wav, .npy or .csv"]),
        (["--prompt", "loud.npy"], ["has values up to 2, and a wave is from -1 to 1", "Scale it first"]),
        (["--prompt", "two.npy"], ["has the shape (2, 9), and one wave is wanted"]),
        (["--prompt", "words.csv"], ["the prompt words.csv is no wave: could not convert string to float: 'b'"]),
        (["--prompt", "damaged.wav"], ["the prompt damaged.wav is no wave"]),
        (["--output", "a.mp3"], ["a.mp3 ends in .mp3", "Waves are written to .wav, .npy or .csv."]),
        (["--output", "a.wav", "--samples", "2"], ["a.wav holds one wave, and --samples is 2", "take one sample"]),
    ],
)
def test_what_cannot_be_sampled_is_told(home, words, sentences):
    np.save(home / "loud.npy", np.full(4, 2.0))
    np.save(home / "two.npy", np.zeros((2, 9)))
    (home / "words.csv").write_text("a\nb\n")
    (home / "damaged.wav").write_bytes(b"RIFX nothing of a wave")
    found = dlx("sample", "sine", *words, cwd=home)
    assert (found.returncode, found.stdout) == (2, "")
    said = re.sub(r"\s+", " ", found.stderr)
    assert all(sentence in said for sentence in sentences), said


def test_a_network_that_looks_ahead_is_refused_before_training(home):
    found = trained(home, "ahead", 5, "same")
    assert found.returncode == 2
    said = re.sub(r"\s+", " ", found.stderr)
    assert "the network looks ahead: another value at position 48 of a window changes what it gives at" in said
    assert "`padding: causal` of convolutions" in said


def test_waves_of_values_and_of_other_scales_are_told(home):
    text = SPEC.format(name="values", steps=1, padding="causal")
    (home / "values.yaml").write_text(
        text.replace("mu_law: 32, ", "").replace("channels: 32", "channels: 1").replace("segmentation", "regression")
    )
    assert dlx("train", "values.yaml", cwd=home).returncode == 0
    with pytest.raises(DlxError, match="was trained for regression, and makes no texts or waves"):
        api.sample("values", runs=home / "runs")
    (home / "scaled.yaml").write_text(
        SPEC.format(name="scaled", steps=1, padding="causal").replace("train: 60", "train: 60, standardize: all")
    )
    assert dlx("train", "scaled.yaml", cwd=home).returncode == 0
    with pytest.raises(DlxError, match="on waves that were preprocessed"):
        api.sample("scaled", runs=home / "runs")
