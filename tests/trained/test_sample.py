"""`dlx sample`: what a language model makes, by command and in Python."""

import json
import re
from pathlib import Path
from textwrap import dedent

import pytest
from commands import dlx

import dlx as api
from dlx.errors import DlxError

TEXT = "the cat sat on the mat. " * 40
SPEC = """
dlx: 1
name: {name}
data: {{text: {{content: "{text}", window: 12, stride: 5, tokens: {tokens}}}}}
network:
  layers:
    - embedding: {{embedding_dim: 12}}
    - position_embedding
    - residual: {{layers: [layer_norm, {{multihead_attention: {{num_heads: 2, is_causal: true}}}}]}}
    - residual: {{layers: [layer_norm, {{linear: 24}}, gelu, {{linear: 12}}]}}
    - linear: "${{data.vocabulary}}"
objective: language
train: {{steps: {steps}, batch_size: 16, optimizer: {{adam: 1e-2}}, device: cpu}}
track: {{mlflow: false}}
"""


def trained(folder: Path, name: str, tokens: str = "characters", steps: int = 200) -> None:
    path = folder / f"{name}.yaml"
    path.write_text(dedent(SPEC.format(name=name, text=TEXT, tokens=tokens, steps=steps)))
    assert dlx("train", path.name, cwd=folder).returncode == 0


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a run that knows its text, one that knows nothing, and two of other tokens."""
    folder = tmp_path_factory.mktemp("home")
    trained(folder, "cat")
    trained(folder, "untrained", steps=1)
    trained(folder, "words", "words", 60)
    trained(folder, "pairs", "{bpe: {size: 270}}", 1)
    return folder


def test_a_model_that_knows_its_text_goes_on_with_it_and_an_untrained_one_does_not(home):
    found = dlx("sample", "cat", "--prompt", "the cat", "--n", "31", "--temperature", "0", cwd=home)
    assert found.stdout == " sat on the mat. the cat sat on\n"
    assert found.stderr == ""
    other = dlx("sample", "untrained", "--prompt", "the cat", "--n", "30", "--temperature", "0", cwd=home)
    assert "sat on the mat" not in other.stdout


def test_the_prompt_comes_before_it_where_that_is_asked_for(home):
    found = dlx("sample", "cat", "--prompt", "the", "--n", "4", "--temperature", "0", "--echo", cwd=home)
    assert found.stdout == "the cat\n"
    found = dlx("sample", "words", "--prompt", "the cat", "--n", "3", "--temperature", "0", "--echo", cwd=home)
    assert found.stdout == "the cat sat on the\n"


def test_the_same_seed_gives_the_same_text_and_text_i_is_that_of_seed_plus_i(home):
    words = ("sample", "untrained", "--prompt", "a", "--n", "20")
    three = dlx(*words, "--samples", "3", "--seed", "5", cwd=home).stdout
    assert three == dlx(*words, "--samples", "3", "--seed", "5", cwd=home).stdout
    texts = three.split("\n---\n")
    assert len(set(texts)) == 3
    assert dlx(*words, "--seed", "6", cwd=home).stdout == f"{texts[1]}\n"


def test_the_document_has_tokens_and_how_well_they_are_told(home):
    found = json.loads(dlx("sample", "cat", "--prompt", "the c", "--n", "6", "--json", cwd=home).stdout)
    assert found["prompt"] == "the c"
    assert found["way"] == "steps"
    (one,) = found["samples"]
    assert one["seed"] == 0
    assert len(one["tokens"]) == len(one["text"]) == 6
    assert 0 <= one["bits_per_token"] < 1
    beam = json.loads(dlx("sample", "cat", "--prompt", "the c", "--n", "6", "--beam", "3", "--json", cwd=home).stdout)
    assert beam["samples"][0]["text"] == "at sat"
    assert "seed" not in beam["samples"][0]


def test_without_a_prompt_a_text_begins_after_a_space_where_there_are_no_line_breaks(home):
    found = dlx("sample", "cat", "--n", "3", "--temperature", "0", cwd=home)
    assert found.stderr == "no --prompt: it begins after ' '\n"


def test_byte_pairs_take_what_the_training_never_had(home):
    assert dlx("sample", "pairs", "--prompt", "ÿ", "--n", "3", cwd=home).returncode == 0


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        (["--prompt", ""], ["the prompt is empty", "leave out --prompt"]),
        (["--prompt", "the dog"], ["the prompt has 'd' at character 5, which is not in the vocabulary", "knows"]),
        (["--prompt", "the cat sat on"], ["the prompt has 14 tokens, and the network sees 12 at once", "shorter"]),
        (["--n", "0"], ["--n is 0", "1 or more"]),
        (["--samples", "0"], ["--samples is 0"]),
        (["--temperature", "-1"], ["the temperature is -1.0", "above 0"]),
        (["--top-p", "0"], ["--top-p is 0.0"]),
        (["--beam", "2", "--samples", "2"], ["a beam search looks for the most probable text", "Leave out --beam"]),
    ],
)
def test_what_cannot_be_sampled_is_told(home, words, sentences):
    found = dlx("sample", "cat", *words, cwd=home)
    assert (found.returncode, found.stdout) == (2, "")
    said = re.sub(r"\s+", " ", found.stderr)
    assert all(sentence in said for sentence in sentences), said


def test_a_run_that_makes_no_texts_is_told(home):
    text = "data: digits\nnetwork: {layers: [flatten, {linear: 10}]}\ntrain: {steps: 1}\ntrack: {mlflow: false}\n"
    (home / "digits.yaml").write_text(text)
    dlx("train", "digits.yaml", cwd=home)
    found = dlx("sample", "digits", cwd=home)
    assert found.returncode == 2
    assert "was trained for classification, and makes no texts" in found.stderr
    assert "`objective: language`" in found.stderr


def test_python_gives_what_the_command_gives(home):
    found = api.sample("cat", 10, prompt="the cat", samples=2, runs=home / "runs")
    printed = dlx("sample", "cat", "--n", "10", "--prompt", "the cat", "--samples", "2", cwd=home).stdout
    assert "\n---\n".join(found.texts) + "\n" == printed
    assert list(found.frame.columns) == ["seed", "text", "bits_per_token"]
    assert "2 texts after 'the cat'" in repr(found)
    with pytest.raises(DlxError, match="the prompt is empty"):
        api.sample("cat", prompt="", runs=home / "runs")
