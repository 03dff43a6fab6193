"""Texts as fields of a table: tokens padded to one length, their masks, and what is refused."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from pydantic import ValidationError

from dlx.data.tables.table import Table
from dlx.data.text.fields import TextField, TextOptions
from dlx.errors import DataError, SpecError
from dlx.spec import load
from dlx.text import restored
from tests.helpers import graph_of

ROWS = ["review,kind,stars", "b a,good,5", "a b c,bad,1", "c,good,4", "b b,bad,2"]


def table(folder: Path, rows: list[str] = ROWS, **fields: object) -> Table:
    (folder / "r.csv").write_text("\n".join(rows) + "\n")
    return Table.model_validate({"path": folder / "r.csv", "split": "order", **fields})


def test_tokens_stand_behind_the_special_ones_and_padding_behind_the_text(tmp_path):
    source = table(tmp_path, inputs={"review": "text"}, targets={"stars": "values"})
    field = source.facts().fields["review"]
    # b four times, a and c twice: the frequent words come first, ties in the order of the alphabet
    assert field.text.names == ("<padding>", "<begin>", "<end>", "b", "a", "c")
    assert (tuple(field.shape), field.shape.dtype, field.classes) == ((3,), "int", 6)
    assert source.load().train.x.tolist() == [[3, 4, 0], [4, 3, 5], [5, 0, 0], [3, 3, 0]]


def test_a_target_ends_and_its_shifted_input_begins_one_place_before_it(tmp_path):
    inputs = {"review": "text", "so_far": {"shifted": "said"}}
    said = {"column": "kind", "is": "text", "tokens": "characters", "length": 6}
    source = table(tmp_path, inputs=inputs, targets={"said": said})
    names = source.facts().fields["said"].names
    assert names == ("<padding>", "<begin>", "<end>", *"abdgo")
    train = source.load().train
    g, o, d = (names.index(letter) for letter in "god")
    assert train.y[0].tolist() == [g, o, o, d, 2, -100]
    assert train.more["so_far"][0].tolist() == [1, g, o, o, d, 0]
    fields = source.facts().fields
    assert fields["so_far"].text.shifted == "said"
    assert list(fields) == ["review", "said", "so_far"]


def test_the_tokenizer_is_of_the_training_part_alone(tmp_path):
    source = table(tmp_path, inputs={"review": {"is": "text", "unknown": "token"}}, targets={"kind": None}, test=2)
    assert source.facts().fields["review"].text.names == ("<padding>", "<begin>", "<end>", "<unknown>", "a", "b", "c")
    rows = [*ROWS[:3], "z a,good,4", "b,bad,2"]
    sets = table(
        tmp_path, rows, inputs={"review": {"is": "text", "unknown": "token"}}, targets={"kind": None}, test=2
    ).load()
    assert sets.test.x[0].tolist() == [3, 4, 0]


def test_words_beyond_a_size_are_the_unknown_token():
    field = TextField.of(TextOptions(tokens={"words": {"size": 1}}), ["b b a"], ["b b a"])
    assert field.tokenizer.names == ("<padding>", "<begin>", "<end>", "<unknown>", "b")
    assert field.encode(["a b"], "input", "text").tolist() == [[3, 4, 0]]


@pytest.mark.parametrize("tokens", ["characters", "bytes", "words", {"bpe": {"size": 260}}])
def test_a_text_comes_back_from_its_tokens_up_to_the_end(tokens):
    texts = ["ab ba", "b"]
    field = TextField.of(TextOptions(tokens=tokens), texts, texts, "target")
    again = TextField.from_json(field.as_json())
    assert again == field
    for text, row in zip(texts, again.encode(texts, "target", "text").tolist(), strict=True):
        assert again.decode(row) == text
        assert again.decode([*row, 3]) == text


def test_lengths_count_characters_of_the_tokens_of_texts_alone():
    tokenizer = TextField.of(TextOptions(tokens={"words": {"size": 1}}), ["word word b"], []).tokenizer
    assert tokenizer.lengths == (0, 0, 0, 1, 4)
    assert restored(tokenizer.as_json()) == tokenizer


def test_a_column_of_numbers_that_is_read_as_texts_is_noted(tmp_path):
    numbers = table(tmp_path, inputs={"stars": "text"}, targets={"kind": "classes"}).load().notes
    assert "`stars`: column `stars` holds numbers alone, read as texts. `is: values` takes their values." in numbers
    mixed = ["review,kind,stars", "b,good,5", "a,bad,many", "c,good,4", "b,bad,2"]
    words = table(tmp_path, mixed, inputs={"stars": "text"}, targets={"kind": "classes"}).load().notes
    assert not any("numbers alone" in note for note in words)


def test_longer_texts_are_cut_where_the_spec_says_so(tmp_path):
    cut = {"is": "text", "length": 2, "cut": True}
    sets = table(
        tmp_path, inputs={"review": cut, "so_far": {"shifted": "said"}}, targets={"said": {"column": "review", **cut}}
    ).load()
    assert sets.train.x[1].tolist() == [4, 3]
    assert sets.train.y[1].tolist() == [4, 3]  # cut off, so it does not end
    cut_off = [note for note in sets.notes if "cut: true" in note]
    assert len(cut_off) == 2
    assert cut_off[0].startswith("`review`: 1 of ")
    assert cut_off[0].endswith("texts lose what is behind `length: 2`, as `cut: true` asks.")
    assert sets.train.more["so_far"][1].tolist() == [1, 4]


@pytest.mark.parametrize(
    ("rows", "fields", "sentence"),
    [
        (
            ROWS,
            {"inputs": {"review": {"is": "text", "length": 2}}},
            "has 3 tokens, and `length` is 2. `length: 3` takes it whole, `cut: true` its first 2.",
        ),
        (
            ROWS,
            {"inputs": {"review": "text"}, "targets": {"said": {"column": "review", "is": "text", "length": 3}}},
            "row 2 of column `review` of {} has 3 tokens and `<end>`, and `length` is 3. `length: 4` takes it whole",
        ),
        (
            [*ROWS, "z,bad,2", "b,bad,2"],
            {"inputs": {"review": "text"}, "test": 2},
            "row 5 of column `review` of {} has `z` (U+007A) at character 1, and the training part, whose vocabulary",
        ),
        (
            [*ROWS, '" ",bad,2'],
            {"inputs": {"review": "text"}},
            "row 5 of column `review` of {} has no token: an empty text says nothing. Leave the row out.",
        ),
        (
            [*ROWS, ",bad,2"],
            {"inputs": {"review": "text"}},
            "values are missing in {}, first in row 5 of column `review`",
        ),
        (
            ROWS,
            {"inputs": {"text": "text"}},
            "{} has no column `text`",
        ),
    ],
)  # fmt: skip
def test_what_a_text_cannot_be_is_told_with_its_row(tmp_path, rows, fields, sentence):
    with pytest.raises(DataError) as error:
        table(tmp_path, rows, **{"targets": {"kind": "classes"}, **fields}).load()
    assert sentence.format(tmp_path / "r.csv") in str(error.value).replace("\n ", ".")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"inputs": {"a": {"columns": ["stars"], "length": 3}}}, "`length` is of texts: write `is: text` beside it"),
        ({"inputs": {"a": {"columns": ["review"], "is": "text"}}}, "a text is one column: write `column: NAME`"),
        ({"inputs": {"a": {"column": "stars"}}}, "`column` is of a text: write `columns: [stars]`"),
        ({"inputs": {"a": {}}}, "an input is made of columns: write `columns: [NAME, ...]`, or `is: text`"),
        ({"inputs": {"a": {"shifted": "kind"}}}, "`a` is shifted from `kind`, which is no target of text"),
        ({"inputs": {"a": {"shifted": "kind", "is": "text"}}}, "the tokens of `kind` as they are: leave out `is`"),
        ({"inputs": {"review": "text", "b": ["review"]}}, "`review` takes the column `review` as a text, and"),
    ],
)  # fmt: skip
def test_contradictions_between_the_options_of_a_field_are_told(tmp_path, fields, sentence):
    with pytest.raises(ValidationError) as error:
        table(tmp_path, **{"targets": {"kind": "classes"}, **fields})
    assert sentence in str(error.value)


SPEC = """
dlx: 1
data: {table: {path: PATH, inputs: {review: text, note: {column: kind, is: text}}, targets: {stars: values}}}
network: {layers: [{embedding: {embedding_dim: 2}, from: note}, LAYERS]}
"""


def graph(folder: Path, layers: str):
    table(folder, inputs={"review": "text"}, targets={"stars": "values"})
    return graph_of(SPEC.replace("PATH", str(folder / "r.csv")).replace("LAYERS", layers))


def test_an_embedding_has_the_vocabulary_of_the_text_that_it_takes(tmp_path):
    layers = "{embedding: {embedding_dim: 2}, from: review}, {linear: '${data.fields.note.vocabulary}'}, flatten"
    found = graph(tmp_path, layers + ", {linear: 1}")
    assert found.by_name["embedding_1"].plan.weights == {"weight": (5, 2)}
    assert found.by_name["embedding_2"].plan.weights == {"weight": (6, 2)}
    assert found.by_name["linear_1"].shape == (3, 5)


def test_padding_and_length_are_wires_beside_a_text(tmp_path):
    import torch

    from dlx.network import build

    found = graph(
        tmp_path, "{flatten: , from: review.padding, name: mask}, {flatten: , from: review.length, name: n}"
    )
    wired = [(node.name, node.kind, node.shape.dtype, tuple(node.shape)) for node in found.nodes[1::2]]
    assert wired == [("review.padding", "padding_mask", "bool", (3,)), ("review.length", "text_length", "int", (1,))]
    from dataclasses import replace

    both = replace(found, outputs={"mask": "mask", "n": "n"})
    given = build(both)(torch.tensor([[3, 4, 0], [5, 0, 0], [3, 3, 3]]), torch.zeros(3, 1, dtype=torch.long))
    assert given["mask"].tolist() == [[False, False, True], [False, True, True], [False, False, False]]
    assert given["n"].tolist() == [[2], [1], [3]]


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ("{flatten: , from: review.state}", "`position`, and no `state`"),
        ("{padding_mask: , from: embedding_1}", "padding_mask takes integers, and (1, 2) from `embedding_1`"),
        (
            "{linear: '${data.fields.stars.vocabulary}'}",
            "there is no `data.fields.stars.vocabulary`: the field is no",
        ),
    ],
)
def test_wires_that_a_text_has_not_are_told(tmp_path, layers, sentence):
    with pytest.raises(SpecError) as error:
        graph(tmp_path, layers)
    assert sentence in str(error.value)


def test_a_run_keeps_its_tokenizer(tmp_path):
    from dlx.experiment import runner
    from dlx.spec import load
    from dlx.trained.predict import predict

    table(tmp_path, inputs={"review": "text"}, targets={"kind": "classes"})
    spec = tmp_path / "r.yaml"
    spec.write_text("""
dlx: 1
name: r
data: {table: {path: r.csv, inputs: {review: text}, targets: {kind: classes}, split: order}}
network: {layers: [{embedding: {embedding_dim: 4}}, flatten, {linear: 2}]}
train: {steps: 60, batch_size: 4, optimizer: {adam: 0.05}}
track: {mlflow: false}
""")
    done = runner.run(load(spec), tmp_path / "runs")
    (tmp_path / "r.csv").unlink()
    new = tmp_path / "new.csv"
    new.write_text("review\nb b\nc\n")
    answers = predict(done.results[0].run, new).answers
    assert [answers.labels[number] for number in answers.classes] == ["bad", "good"]
    new.write_text("review\nz\n")
    with pytest.raises(DataError, match="has `z`"):
        predict(done.results[0].run, new)


def test_where_the_data_has_a_mistake_what_takes_its_inputs_is_not_told_again(tmp_path):
    (tmp_path / "r.csv").write_text("\n".join([*ROWS, ",bad,2"]) + "\n")
    spec = f"""
        data: {{table: {{path: "{tmp_path}/r.csv", inputs: {{review: text}}, targets: {{kind: classes}}}}}}
        network:
          layers:
            - embedding: {{embedding_dim: 4}}
            - {{gru: 4, from: {{input: prev, lengths: review.length}}}}
            - {{linear: 2, from: NAME}}
        """
    with pytest.raises(SpecError) as error:
        graph_of(dedent(spec.replace("NAME", "review")))
    assert [one.message.partition(" in ")[0] for one in error.value.problems] == ["values are missing"]
    with pytest.raises(SpecError) as error:  # a name that the data would not give either
        graph_of(dedent(spec.replace("NAME", "revue")))
    assert [one.message for one in error.value.problems][1:] == ["there is no node `revue` above this one"]


def test_a_table_of_an_embedding_that_is_too_small_for_the_text_is_told_before_training(tmp_path):
    (tmp_path / "r.csv").write_text("\n".join(ROWS) + "\n")
    spec = f"""
        data: {{table: {{path: "{tmp_path}/r.csv", inputs: {{review: text}}, targets: {{kind: classes}}}}}}
        network:
          layers: [embedding: {{num_embeddings: ROWS, embedding_dim: 4}}, flatten, linear: 2]
        """
    assert graph_of(dedent(spec.replace("ROWS", "6"))).outputs  # three special tokens and three words
    with pytest.raises(SpecError) as error:
        graph_of(dedent(spec.replace("ROWS", "5")))
    (one,) = error.value.problems
    assert one.message.startswith("embedding has a table of 5 rows, and (3,) from `review`")
    assert one.message.endswith("holds 6 tokens")
    assert one.hint == "Write `num_embeddings: 6`; of a text it can be left out."


@pytest.mark.parametrize(
    ("gru", "notes"),
    [
        ("{gru: 4}", 1),
        ("{gru: 4, from: {input: prev, lengths: review.length}}", 0),
    ],
    ids=["no mask", "lengths"],
)
def test_a_text_whose_padding_no_layer_takes_gets_a_note(tmp_path, gru, notes):
    (tmp_path / "r.csv").write_text("\n".join(ROWS) + "\n")
    data = f'{{table: {{path: "{tmp_path}/r.csv", inputs: {{review: text}}, targets: {{kind: classes}}}}}}'
    layers = f"[{{embedding: {{embedding_dim: 4}}}}, {gru}, flatten, linear: 2]"
    warnings = graph_of(f"data: {data}\nnetwork: {{layers: {layers}}}\n").warnings
    told = "texts of `review` end in padding, and no layer takes `review.padding` or `review.length`"
    assert [one.message for one in warnings] == [told] * notes


@pytest.mark.parametrize(
    ("documents", "gru", "notes"),
    [
        ("pack", "{gru: 4}", ["a window of `text` has several documents, and no layer takes `text.document`"]),
        ("pack", "{gru: 4, from: {input: prev, document: text.document}}", []),
        ("pad", "{gru: 4}", []),  # what stands behind the end is not seen by what tells the next token
    ],
)
def test_a_packed_text_whose_documents_no_layer_takes_gets_a_note(tmp_path, documents, gru, notes):
    (tmp_path / "r.csv").write_text("\n".join(ROWS) + "\n")
    text = f'{{text: {{path: "{tmp_path}/r.csv", column: review, window: 8, documents: {documents}}}}}'
    layers = f'[{{embedding: {{embedding_dim: 4}}}}, {gru}, linear: "${{data.vocabulary}}"]'
    graph = graph_of(f"data: {text}\nnetwork: {{layers: {layers}}}\nobjective: language\n")
    assert [one.message for one in graph.warnings] == notes


def test_an_empty_content_is_told_in_a_sentence():
    with pytest.raises(SpecError, match='`content` must be a text that is not empty, not ""'):
        graph_of("data: {text: {content: ''}}\nnetwork: {layers: [linear: 2]}\n")


def test_labels_and_words_of_other_lengths_are_told_with_the_way_to_one(tmp_path):
    (tmp_path / "w.csv").write_text("words,tags\na b,N V\nb,V\n")
    spec = f"""
        data: {{table: {{path: "{tmp_path}/w.csv", inputs: {{words: WORDS}}, targets: {{tags: text}}}}}}
        network:
          layers:
            - embedding: {{embedding_dim: 4}}
            - {{gru: 4, from: {{input: prev, lengths: words.length}}}}
            - linear: "${{data.fields.tags.vocabulary}}"
        objective: sequence_labelling
        """
    with pytest.raises(SpecError) as error:
        graph_of(dedent(spec.replace("WORDS", "text")))
    (one,) = error.value.problems
    assert one.hint.startswith("Give both texts one length: `length: 3` at the input.")
    assert graph_of(dedent(spec.replace("WORDS", "{is: text, length: 3}"))).outputs


WITH_WEIGHTS = """\
dlx: 1
name: reviews
data: {table: {path: PATH, inputs: {review: text}, targets: {kind: classes}}}
network: {layers: [{embedding: {embedding_dim: 2}}, flatten, {linear: 2}]}
objective: classification
train: {steps: 1, batch_size: 1}
track: {mlflow: false}
"""


def test_weights_of_other_tokens_are_refused_and_can_begin_anew(tmp_path):
    from dlx.experiment import runner

    (tmp_path / "was.csv").write_text("review,kind\na b,good\nb c,bad\n")
    (tmp_path / "now.csv").write_text("review,kind\na d,good\nd c,bad\n")

    def spec(data: str, more: str = "") -> Path:
        path = tmp_path / "a.yaml"
        path.write_text(WITH_WEIGHTS.replace("PATH", data) + more)
        return path

    run = runner.run(load(spec("was.csv")), tmp_path / "runs").results[0].run.dir
    weights = f"weights: {{from: {run}, MORE}}\n"
    with pytest.raises(
        SpecError, match="are of other tokens of `review`: token 3 is `b` there, and `d` in this data"
    ) as told:
        runner.run(load(spec("now.csv", weights.replace(", MORE", ""))), tmp_path / "runs")
    assert "Name the layers that count tokens in `skip`" in told.value.problems[0].hint
    for data, more in (("was.csv", ""), ("now.csv", "skip: [embedding_1/*]")):
        path = spec(data, weights.replace("MORE", more))
        assert runner.run(load(path), tmp_path / "runs").results[0].status == "finished"
