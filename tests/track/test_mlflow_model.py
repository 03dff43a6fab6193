"""Models in MLflow: a frame of the original columns or an array goes in, and names and probabilities come out."""

import shutil

import numpy as np
import pytest

from dlx import track
from dlx.data import input_record, python_inputs
from dlx.experiment import runner
from dlx.spec import load
from dlx.trained.predict import predict

pd = pytest.importorskip("pandas")
TRAIN = "train: {epochs: 3, batch_size: 20, optimizer: {adam: 0.02}}\ntrack: {mlflow: false}\n"


def logged(folder, empty_store, data, layers, objective=""):
    """A trained run, its model in MLflow loaded as a python function, and its address."""
    import mlflow

    (folder / "s.yaml").write_text(f"name: s\ndata: {data}\n{objective}\nnetwork: {{layers: {layers}}}\n{TRAIN}")
    run = runner.run(load(folder / "s.yaml"), folder / "runs").results[0].run
    shutil.copy(empty_store, folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    assert track.sync(run, uri).error == ""
    client = mlflow.MlflowClient(uri)
    (experiment,) = [one for one in client.search_experiments() if one.name == "s"]
    (model,) = client.search_logged_models([experiment.experiment_id])
    return run, mlflow.pyfunc.load_model(model.artifact_location), model.artifact_location


@pytest.fixture(scope="module")
def houses(tmp_path_factory, empty_store):
    folder = tmp_path_factory.mktemp("houses")
    rows = [
        f"{i % 7},{'abc'[i % 3]},{str(i % 2 == 0).lower()},{10 + i % 4},{'cheap' if i % 7 < 3 else 'dear'}"
        for i in range(60)
    ]
    (folder / "t.csv").write_text("\n".join(["size,town,new,code,class", *rows]))
    data = "{table: {path: t.csv, target: class, categorical: [code], standardize: feature, test: 12}}"
    return *logged(folder, empty_store, data, "[{linear: 2}]"), pd.read_csv(folder / "t.csv"), folder / "t.csv"


def test_a_frame_of_the_original_columns_gives_names_and_probabilities(houses):
    run, model, _, frame, path = houses
    answers, expected = model.predict(frame.drop(columns="class")), predict(run, path)

    assert list(answers.columns) == ["class", "p(cheap)", "p(dear)"]
    assert answers["class"].tolist() == [expected.labels[i] for i in expected.classes]
    np.testing.assert_allclose(answers[["p(cheap)", "p(dear)"]], expected.probabilities, rtol=0, atol=1e-6)
    some = frame.drop(columns="class").iloc[[5, 2]]
    assert model.predict(some).index.tolist() == [5, 2]


def test_a_threshold_is_a_parameter(houses):
    _, model, _, frame, _ = houses
    rows = frame.drop(columns="class")
    likely = model.predict(rows)["p(dear)"]
    strict = model.predict(rows, params={"threshold": float(likely.max()) - 1e-6})

    assert (strict["class"] == "dear").sum() == (likely > likely.max() - 1e-6).sum() < (likely > 0.5).sum()


def test_the_example_of_a_table_is_a_row_that_the_model_takes(houses):
    _, model, address, _, _ = houses
    import mlflow

    about = model.metadata
    example = about.load_input_example(mlflow.artifacts.download_artifacts(address))
    assert list(example) == [column.name for column in about.signature.inputs.inputs]
    assert len(model.predict(example)) == 1


def test_a_column_that_is_missing_is_refused_by_its_name(houses):
    _, model, _, frame, _ = houses
    with pytest.raises(Exception, match="town"):
        model.predict(frame[["size", "new", "code"]])


def test_the_network_itself_still_loads(houses):
    import mlflow
    import torch

    _, _, address, _, _ = houses
    assert mlflow.pytorch.load_model(address)(torch.zeros(3, 9)).shape == (3, 2)


def test_an_array_before_preprocessing_is_taken_too(tmp_path, empty_store):
    data = "{digits: {train: 100, preprocess: [center, {pca: 20}]}}"
    import mlflow

    run, model, address = logged(tmp_path, empty_store, data, "[{linear: 10}]")
    example = model.metadata.load_input_example(mlflow.artifacts.download_artifacts(address))
    assert (example.shape, example.dtype) == ((1, 1, 8, 8), np.float32)
    assert len(model.predict(example)) == 1
    x = np.random.default_rng(0).random((4, 1, 8, 8), np.float32)
    answers = model.predict(x)

    np.testing.assert_allclose(answers.iloc[:, 1:], predict(run, x).probabilities, rtol=0, atol=1e-6)
    assert answers.columns[1] == "p(0)"


@pytest.mark.slow
def test_heads_have_columns_metrics_and_tables_of_their_own(tmp_path, empty_store):
    import mlflow

    rows = [f"{i % 7},{10 * (i % 7) + i % 2},{'cheap' if i % 7 < 3 else 'dear'}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["size,price,sort", *rows]))
    targets = "inputs: {x: {columns: [size]}}, targets: {price: values, sort: classes}"
    objective = "objective: {price: regression, sort: {classification: {metrics: [confusion_matrix]}}}"
    layers = "[{linear: 1, name: price}, {linear: 2, name: sort, from: x}], outputs: [price, sort]"
    run, model, _ = logged(
        tmp_path, empty_store, f"{{table: {{path: t.csv, {targets}, test: 12}}}}", layers, objective
    )
    answers, expected = model.predict(pd.read_csv(tmp_path / "t.csv")), predict(run, tmp_path / "t.csv")

    _, ours = expected.rows()
    assert [str(row) for row in answers["sort"]] == [row[2] for row in ours]
    np.testing.assert_allclose(answers["price"], [row[1] for row in ours], rtol=1e-6)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (there,) = client.search_runs([one.experiment_id for one in client.search_experiments() if one.name == "s"])
    for name in ("test/price/mse", "test/sort/accuracy", "test/loss"):
        assert there.data.metrics[name] == pytest.approx(run.end()["metrics"][name])
    assert "confusion.json" in [one.path for one in client.list_artifacts(there.info.run_id)]


def test_the_parts_of_a_table_are_datasets_with_columns_and_types(houses):
    import json

    import mlflow

    run, _, _, frame, path = houses
    client = mlflow.MlflowClient(f"sqlite:///{path.parent}/mlflow.db")
    inputs = client.get_run(run.read_json("mlflow.json")["run_id"]).inputs.dataset_inputs

    assert {(one.dataset.name, one.tags[0].value) for one in inputs} == {
        ("table train", "training"),
        ("table test", "test"),
    }
    assert {json.loads(one.dataset.profile)["num_rows"] for one in inputs} == {48, 12}
    for one in inputs:
        columns = json.loads(one.dataset.schema)["mlflow_colspec"]
        assert {column["name"]: column["type"] for column in columns} == {
            "size": "double",
            "town": "string",
            "new": "boolean",
            "code": "string",
            "class": "string",
        }
        assert [column["name"] for column in columns] == list(frame)


def test_the_parts_of_arrays_are_datasets_with_shape_and_dtype(tmp_path):
    import json

    from dlx.track.datasets import datasets

    (tmp_path / "s.yaml").write_text(
        f"name: s\ndata: {{digits: {{train: 60, valid: 20, preprocess: [{{pca: 9}}]}}}}\n"
        f"network: {{layers: [{{linear: 10}}]}}\n{TRAIN}"
    )
    run = runner.run(load(tmp_path / "s.yaml"), tmp_path / "runs").results[0].run

    found = datasets(run.lock(), input_record.load(run.dir))

    assert [one.tags[0].value for one in found] == ["training", "validation", "test"]
    for one in found:
        tensors = json.loads(one.dataset.schema)["mlflow_tensorspec"]
        (pixels,), (label,) = json.loads(tensors["features"]), json.loads(tensors["targets"])
        assert pixels["tensor-spec"] == {"dtype": "float32", "shape": [-1, 1, 8, 8]}  # before the components
        assert label["tensor-spec"] == {"dtype": "int64", "shape": [-1]}


def test_a_column_of_text_is_taken_as_it_is(tmp_path, empty_store):
    import mlflow
    import torch

    rows = [f"{('good', 'bad')[i % 2]} film{' of note' * (i % 3)},{('up', 'down')[i % 2]},{i}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["said,opinion,number", *rows]))
    fields = "inputs: {review: {column: said, is: text}}, targets: {opinion: classes}"
    layers = (
        "[{embedding: {embedding_dim: 4}, name: words}, "
        "{gru: {hidden_size: 3, bidirectional: true}, from: {input: words, lengths: review.length}}, "
        "{max: 1}, {linear: 2}]"
    )
    data = f"{{table: {{path: t.csv, {fields}, test: 12}}}}"
    run, model, address = logged(tmp_path, empty_store, data, layers)
    frame = pd.read_csv(tmp_path / "t.csv")[["said"]].iloc[[3, 2, 8]]
    expected = predict(run, tmp_path / "t.csv")

    answers = model.predict(frame)
    assert answers.index.tolist() == [3, 2, 8]
    np.testing.assert_allclose(answers["p(up)"], expected.probabilities[[3, 2, 8], 1], rtol=0, atol=1e-6)
    example = model.metadata.load_input_example(mlflow.artifacts.download_artifacts(address))
    assert [one.name for one in model.metadata.signature.inputs.inputs] == ["said"] == list(example)
    assert len(model.predict(example)) == 1
    # the network alone, with any number of texts
    network = mlflow.pytorch.load_model(address)
    (length,) = input_record.load(run.dir).raw
    assert [len(network(torch.ones(n, length, dtype=torch.int64))) for n in (1, 2, 7)] == [1, 2, 7]


def test_several_arrays_are_taken_by_the_names_of_their_fields(tmp_path, empty_store):
    import mlflow

    layers = (
        "[{name: trunk, from: left, layers: [flatten, {linear: 4}]}, {share: trunk, from: right, name: twin}, "
        "{subtract: , from: [trunk, twin]}, {vector_norm: {dim: 1, keepdim: true}}]"
    )
    objective = "objective: {binary_classification: {loss: {contrastive: {margin: 1}}}}"
    data = "{digit_pairs: {train: 100, valid: 0, test: 200}}"
    run, model, address = logged(tmp_path, empty_store, data, layers, objective)
    random = np.random.default_rng(0)
    pairs = {name: random.random((4, 1, 8, 8), np.float32) for name in ("left", "right")}
    np.savez(tmp_path / "pairs.npz", **pairs)
    example = model.metadata.load_input_example(mlflow.artifacts.download_artifacts(address))

    answers = model.predict(pairs)
    expected = predict(run, tmp_path / "pairs.npz").probabilities
    np.testing.assert_allclose(answers[["p(different)", "p(same)"]], expected, rtol=0, atol=1e-6)
    assert {name: x.shape for name, x in example.items()} == {"left": (1, 1, 8, 8), "right": (1, 1, 8, 8)}
    with pytest.raises(Exception, match="right"):
        model.predict({"left": pairs["left"]})


@pytest.mark.slow
def test_arrays_of_classes_at_positions_come_back_by_name(tmp_path, empty_store):
    layers = "[{graph_attention: {out_features: 2}, from: [nodes, adjacency, mask]}, transpose]"
    data = "{block_graphs: {targets: nodes, train: 40, valid: 0, test: 10}}"
    run, model, _ = logged(tmp_path, empty_store, data, layers, "objective: segmentation")
    edges = np.random.default_rng(0).random((3, 24, 24)) < 0.2
    graphs = {"nodes": np.ones((3, 24, 2), np.float32), "adjacency": edges, "mask": np.ones((3, 24), bool)}
    np.savez(tmp_path / "graphs.npz", **graphs)

    answers, expected = model.predict(graphs), predict(run, tmp_path / "graphs.npz")
    np.testing.assert_array_equal(answers["classes"], expected.classes)
    assert answers["classes"].shape == (3, 24)


@pytest.mark.slow
def test_sentences_are_translated(tmp_path, empty_store):
    layers = (
        "[{embedding: {embedding_dim: 8}, from: source, name: words}, {gru: 8, name: encoder}, "
        "{embedding: {embedding_dim: 8}, from: so_far}, {gru: 8, name: decoder}, "
        "{multihead_attention: {num_heads: 2}, from: {query: decoder, key: encoder, value: words, "
        "key_padding_mask: source.padding}}, {linear: '${data.fields.target.vocabulary}'}]"
    )
    data = "{translations: {from: english, to: spanish, train: 200, test: 20}}"
    run, model, _ = logged(tmp_path, empty_store, data, layers, "objective: translation")
    sentences = pd.DataFrame({"source": ["the cat sees the red house", "this dog paints the book"]}, index=[7, 9])
    expected = predict(run, python_inputs.read(sentences)).rows()[1]

    answers = model.predict(sentences)
    assert (answers.index.tolist(), list(answers.columns)) == ([7, 9], ["target"])
    assert answers["target"].tolist() == [row[1] for row in expected]
    with pytest.raises(Exception, match="source"):
        model.predict(sentences.rename(columns={"source": "text"}))
