"""Texts: windows by hand, documents, parts, unknown tokens, what is kept, and every mistake as a sentence."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from dlx.data import DATASETS, input_record
from dlx.data.batch import FieldNames
from dlx.data.text import recorded
from dlx.errors import DataError, SpecError
from dlx.graph import trace
from dlx.lazy import torch
from dlx.spec import load
from dlx.training.batches.windows import WindowPart

TEXT = "the cat sat on the mat, and the rat sat on the hat. "


def text(**options):
    return DATASETS["text"].model_validate(options)


def old(path: Path, content: str | bytes) -> Path:
    """A file that was written a while ago, so that what is found in it is kept."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.utime(path, (time.time() - 60,) * 2)
    return path


def letters(source, numbers) -> str:
    names = source.tokenizer().names
    return "".join("_" if n < 0 else names[n] for n in np.asarray(numbers).reshape(-1))


# --- windows


def test_hello_by_hand():
    """Inputs h, e, l, l and targets e, l, l, o: Stanford's cs231n, recurrent networks, figure 10.1.4."""
    source = text(content="hello", window=4)
    train = source.load().train
    assert source.facts().vocabulary == 4
    assert (letters(source, train.x), letters(source, train.y)) == ("hell", "ello")


def test_each_token_but_the_first_is_told_once_and_the_end_is_masked():
    source = text(content="abcdefghij", window=4)
    train = source.load().train
    assert [letters(source, row) for row in train.x[:]] == ["abcd", "efgh", "ijaa"]
    assert [letters(source, row) for row in train.y[:]] == ["bcde", "fghi", "j___"]


def test_windows_that_overlap_count_a_held_out_token_once():
    source = text(content="abcdefgh" * 2, window=4, stride=2, test=8)
    sets = source.load()
    assert [letters(source, row) for row in sets.train.y[:]] == ["bcde", "defg", "fgh_"]
    assert [letters(source, row) for row in sets.test.y[:]] == ["bcde", "__fg", "__h_"]


def test_a_window_never_goes_beyond_its_document(tmp_path):
    for name, content in (("a", "abcdef"), ("b", "x"), ("c", "fedcbax")):
        old(tmp_path / f"{name}.txt", content)
    source = text(path=tmp_path, window=4)
    train = source.load().train
    assert [letters(source, row) for row in train.y[:]] == ["bcde", "f___", "edcb", "ax__"]
    assert train.x[np.array([3, 0])].tolist() == [train.x[3:4][0].tolist(), train.x[0:1][0].tolist()]


@pytest.mark.parametrize("options", [{}, {"stride": 3}, {"valid": 1, "test": 1}], ids=str)
def test_a_step_gathers_what_the_array_has(tmp_path, options):
    """Two ways to one window: NumPy on the array, torch on the mapped tokens."""
    for i in range(6):
        old(tmp_path / f"{i}.txt", TEXT[: 3 + 9 * i])
    more = {k: v for k, v in options.items() if k == "stride"} | (
        {"valid": 2, "test": 2} if "valid" in options else {}
    )
    sets = text(path=tmp_path, window=7, unknown="token", **more).load()
    for split in (part for part in (sets.train, sets.valid, sets.test) if part is not None):
        part = WindowPart.of(split, torch.device("cpu"), FieldNames())
        batch = part.take(torch.arange(len(split)))
        assert batch["input"].tolist() == split.x[:].tolist()
        assert batch["target"].tolist() == split.y[:].tolist()
        assert torch.cat([one.y for one in part.chunks(2)]).tolist() == split.y[:].tolist()
        half = torch.arange(len(split) // 2) * len(split) // max(len(split) // 2, 1)
        some = [one.y for one in part.evenly(len(split) // 2).chunks(2)]
        assert len(split) < 2 or torch.cat(some).tolist() == split.y[half.numpy()].tolist()


# --- parts


def test_the_parts_of_one_text_are_its_last_characters(tmp_path):
    path = old(tmp_path / "a.txt", "é" * 80 + "a" * 10 + "é" * 10)
    sets = text(path=path, window=4, valid=0.1, test=0.1, unknown="token").load()
    assert [len(part.x.file.tokens) for part in (sets.train, sets.valid, sets.test)] == [80, 10, 10]
    assert set(sets.valid.x.file.tokens.tolist()) == {1}  # unknown: the training part has no a
    assert set(sets.test.x.file.tokens.tolist()) == {0}


def test_the_parts_of_bytes_are_bytes(tmp_path):
    path = old(tmp_path / "a.bin", bytes(range(200)))
    sets = text(path=path, tokens="bytes", window=4, test=50).load()
    assert sets.train.x.file.tokens.tolist() == list(range(150))
    assert sets.test.x.file.tokens.tolist() == list(range(150, 200))


def test_several_documents_are_whole_in_one_part(tmp_path):
    for i in range(10):
        old(tmp_path / f"{i}.txt", "abcdefghij" * 2)
    sets = text(path=tmp_path, window=4, valid=0.2, test=1 + 1).load()
    assert [len(part.x.file.documents) - 1 for part in (sets.train, sets.valid, sets.test)] == [6, 2, 2]
    drawn = [text(path=tmp_path, window=4, test=0.2, split="random", seed=seed).load().digest for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_rows_of_a_column_are_documents(tmp_path, suffix):
    import pandas

    path = tmp_path / f"a.{suffix}"
    frame = pandas.DataFrame({"id": [1, 2, 3], "body": ["one, two", 'a "quoted"\nline', "NA"]})
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    source = text(path=path, column="body", window=4)
    documents = [("".join(one.pieces)) for one in source.documents_of("train")]
    assert documents == ["one, two", 'a "quoted"\nline', "NA"]


# --- the vocabulary


@pytest.mark.parametrize("tokens", ["words", {"bpe": {"size": 300}}])
def test_a_word_ends_with_its_document(tmp_path, tokens):
    (tmp_path / "months.csv").write_text("months\n" + "nov\nmar\n" * 20)
    source = text(path=tmp_path / "months.csv", column="months", tokens=tokens, window=2)
    names = source.tokenizer().names
    assert not any("vm" in name or "novmar" in name for name in names)
    assert {"nov", "mar"} <= {*names} if tokens == "words" else len(names) == 260


def test_the_vocabulary_is_that_of_the_training_part():
    source = text(content="ab" * 20 + "cc", window=4, test=4, unknown="token")
    assert source.facts().class_names == ("a", "b", "<unk>")


def test_an_embedding_takes_the_vocabulary_and_expressions_have_it(tmp_path):
    spec = tmp_path / "a.yaml"
    spec.write_text(
        "dlx: 1\ndata: {text: {content: hello, window: 4}}\n"
        "network: {layers: [{embedding: {embedding_dim: 3}}, {linear: '${2 * data.vocabulary}'}]}\n"
        "objective: {language: {}}\n"
    )
    with pytest.raises(SpecError, match=r"ends in \(4, 8\), and the data has 4 tokens at 4 positions"):
        trace(load(spec))
    spec.write_text(spec.read_text().replace("2 * ", ""))
    graph = trace(load(spec))
    assert graph.by_name["embedding_1"].plan.weights["weight"] == (4, 3)


def test_tokens_take_the_narrowest_type():
    from dlx.data.text.token_files import dtype_of

    assert [dtype_of(n) for n in (2, 256, 257, 65536, 65537)] == [np.uint8, np.uint8, np.uint16, np.uint16, np.uint32]


def test_the_tokenizer_of_a_run_comes_before_one_that_would_be_trained():
    source, other = text(content="hello", window=4), text(content="jellohs", window=4)
    with recorded.reading_of_run(other.load().reading):
        assert source.facts().class_names == other.facts().class_names
        inside = source.load()
    assert inside.digest != source.load().digest


def test_a_file_that_stays_as_it_is_is_read_once(tmp_path, monkeypatch):
    path = old(tmp_path / "a.txt", TEXT)
    first = text(path=path, window=4).facts()
    text(path=path, window=4).load()

    def read(*_):
        raise AssertionError("it was read again")

    monkeypatch.setattr("dlx.data.text.corpus.Corpus._pieces", read)
    assert text(path=path, window=5).facts().class_names == first.class_names
    text(path=path, window=4).load()
    monkeypatch.undo()
    old(path, TEXT + "!")
    os.utime(path, (time.time() - 30,) * 2)
    assert text(path=path, window=4).facts().vocabulary == first.vocabulary + 1


# --- mistakes


@pytest.mark.parametrize(
    ("content", "options", "sentence"),
    [
        ("", {}, "is empty: there is no text"),
        ("abc", {"window": 4}, r"the part `train` has 3 tokens, and a window of 4 and the one to tell take 5"),
        (
            "abcdefgh",
            {"window": 2, "test": 2},
            "the part `test` has `g` .U.0067. after 0 characters of its text in .*",
        ),
        (b"ab\ncd\xe9f", {}, r"is not UTF-8: byte 5 \(line 2\) is 0xe9"),
        ("abcdef", {"valid": 4, "test": 4}, r"`valid` 4 \+ `test` 4 characters are asked for, and there are 6"),
        ("abcdef", {"split": "random"}, "`split: random` draws documents, and .* is one"),
    ],
    ids=["empty", "short", "unknown", "encoding", "parts", "split"],
)
def test_a_mistake_in_a_file_is_told_with_both_sides(tmp_path, content, options, sentence):
    path = old(tmp_path / "a.txt", content)
    source = text(path=path, **options)
    with pytest.raises(DataError, match=sentence) as told:
        source.facts(), source.load()
    assert "a.txt" in str(told.value) or "part" in str(told.value) or "characters" in str(told.value)
    assert all(problem.hint for problem in told.value.problems)


@pytest.mark.parametrize(
    ("name", "sentence", "hint"),
    [
        ("new.png", "new.png is a picture, and this run reads texts", "Give a file of text."),
        ("new.bin", r"new.bin is not UTF-8: byte 0 .line 1. is 0x89", "Give a file of text in UTF-8, as the texts"),
    ],
)
def test_a_new_input_that_is_no_text_is_told_with_what_a_run_can_take(tmp_path, name, sentence, hint):
    path = old(tmp_path / "a.txt", "abcabcabc")
    source = text(path=path, window=2)
    record = input_record.of(source, source.load(), {"x": source.facts().input})
    new = old(tmp_path / name, b"\x89PNG")
    with pytest.raises(DataError, match=sentence) as told:
        source.new_inputs(new, record)
    assert told.value.problems[0].hint.startswith(hint)


def test_a_wrong_byte_is_found_behind_the_first_piece(tmp_path, monkeypatch):
    monkeypatch.setattr("dlx.data.text.corpus.PIECE", 4)
    path = old(tmp_path / "a.txt", "aé\nbé\ncccc".encode() + b"\xe9")
    with pytest.raises(DataError, match=r"byte 12 \(line 3\) is 0xe9"):
        text(path=path).facts()
    assert text(path=path, encoding="latin-1", window=4).facts().vocabulary == 7


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path):
    path = old(tmp_path / "a.csv", "id,body\n1,one\n2,two\n")
    with pytest.raises(DataError, match=r"has no column `bodi`") as told:
        text(path=path, column="bodi").facts()
    assert told.value.problems[0].hint == "Did you mean `body`?"
    with pytest.raises(DataError, match="is a table, and no column is named"):
        text(path=path).facts()
    with pytest.raises(DataError, match="does not exist"):
        text(path=tmp_path / "b.csv", column="body").facts()


def test_a_folder_without_such_files_is_told_with_those_that_it_has(tmp_path):
    old(tmp_path / "a.md", "text")
    with pytest.raises(DataError, match=r"holds no file that is called `\*.txt`") as told:
        text(path=tmp_path).facts()
    assert "a.md" in told.value.problems[0].hint


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "give `path` or `content`, one of the two"),
        ({"content": "ab", "path": "a"}, "give `path` or `content`, one of the two"),
        ({"content": "ab", "column": "a"}, "`column` is of files"),
        ({"content": "ab", "carry": True, "stride": 2}, "`carry` goes on where a window ends, and `stride` 2"),
        ({"content": "ab", "tokens": {"bpe": {"size": 256}}}, "`bpe` begins with the 256 bytes, and has `size` 256"),
        ({"content": "ab", "tokens": {"bpe": {"size": 300}, "words": {}}}, "here is `bpe` and `words`"),
        ({"content": "ab", "encoding": "utf-9"}, "there is no encoding `utf-9`"),
        ({"content": "ab", "seed": 1}, "`split: order` draws nothing"),
        ({"content": "ab", "valid": 0.6, "test": 0.6}, "add up to 1.2"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_told(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        text(**options)


def test_a_mistake_in_the_data_is_not_told_a_second_time_by_the_layers(tmp_path):
    spec = tmp_path / "a.yaml"
    spec.write_text(
        "dlx: 1\ndata: {text: {content: hello, tokens: letters}}\n"
        "network: {layers: [{embedding: {embedding_dim: 3}}, {linear: '${data.vocabulary}'}]}\n"
    )
    with pytest.raises(SpecError) as told:
        trace(load(spec))
    assert len(told.value.problems) == 1
    assert "`tokens` must be" in told.value.problems[0].message


# --- the tokenizer of another run

SPEC = """
dlx: 1
name: a
data: {text: {content: CONTENT, window: 4MORE}}
network: {layers: [{embedding: {embedding_dim: 3}}, {linear: 6}]}
objective: language
train: {steps: 1, batch_size: 1}
track: {mlflow: false}
"""


def spec_of(folder: Path, content: str, more: str = "", weights: str = "") -> Path:
    path = folder / "a.yaml"
    path.write_text(SPEC.replace("CONTENT", content).replace("MORE", more) + weights)
    return path


def test_weights_of_another_tokenizer_are_refused_and_its_tokens_can_be_taken(tmp_path):
    from dlx.experiment import runner

    run = runner.run(load(spec_of(tmp_path, "abcdef")), tmp_path / "runs").results[0].run.dir
    weights = f"weights: {{from: {run}}}\n"
    with pytest.raises(
        SpecError, match="are of another tokenizer: token 0 is `a` there, and `b` in this data"
    ) as told:
        runner.run(load(spec_of(tmp_path, "bcdefg", weights=weights)), tmp_path / "runs")
    assert f"tokenizer_of: {run}" in told.value.problems[0].hint
    with pytest.raises(SpecError, match=r"the part `train` has `g` \(U\+0067\)"):
        runner.run(load(spec_of(tmp_path, "bcdefg", f", tokenizer_of: {run}", weights)), tmp_path / "runs")
    path = spec_of(tmp_path, "fedcb", f", tokenizer_of: {run}", weights)
    assert load(path).data.tokenizer().names == tuple("abcdef")
    assert runner.run(load(path), tmp_path / "runs").results[0].status == "finished"


def test_weights_of_another_tokenizer_with_tokens_of_the_same_names_are_refused_too(tmp_path):
    from dlx.experiment import runner

    run = runner.run(load(spec_of(tmp_path, "abcdef")), tmp_path / "runs").results[0].run.dir
    path = spec_of(tmp_path, "a b c d e f", ", tokens: words", f"weights: {{from: {run}}}\n")
    assert load(path).data.tokenizer().names == tuple("abcdef")
    with pytest.raises(SpecError, match="are of another tokenizer"):
        runner.run(load(path), tmp_path / "runs")


def test_a_run_without_a_tokenizer_is_told(tmp_path):
    with pytest.raises(DataError, match="is no run that was trained on `data: text`"):
        text(content="hello", tokenizer_of=tmp_path).facts()
    with pytest.raises(ValueError, match="`tokenizer_of` names a run that has its own"):
        text(content="hello", tokenizer_of=tmp_path, tokens="bytes")


def test_examples_are_described_as_text(tmp_path):
    from dlx.analysis.data.description import described

    spec = spec_of(tmp_path, "abcdef")
    (first, *_) = described(load(spec))[""].as_json()["examples"]
    assert first["fields"] == {"input": "abcd", "target": "bcde"}
