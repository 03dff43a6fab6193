"""Arrays in files."""

from __future__ import annotations

import os
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from dlx.data.arrays.arrays import Arrays
from dlx.data.generated.mnist1d import MNIST1D
from dlx.data.published.idx import IDX
from dlx.data.tables.table import Table
from dlx.errors import DataError, SpecError
from dlx.graph import trace
from dlx.shapes import Shape
from dlx.spec import load, objective_of

X = np.arange(48, dtype=np.float32).reshape(8, 2, 3)
Y = np.arange(8) % 3


def written(folder: Path, suffix: str, **arrays: np.ndarray) -> Arrays:
    """A source that reads the arrays from a new file."""
    path = folder / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, arrays["x"])
        np.save(folder / "y.npy", arrays["y"])
        return Arrays(path=path, targets=folder / "y.npy")
    if suffix == ".npz":
        np.savez_compressed(path, **arrays)
    elif suffix == ".safetensors":
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    else:
        torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    return Arrays(path=path)


def refusal_of(source: Arrays) -> str:
    with pytest.raises(DataError) as raised:
        source.load()
    (problem,) = raised.value.problems
    folder = getattr(source, source.first_field()).parent
    return f"{problem.message} | {problem.hint}".replace(f"{folder}/", "")


def changed(source: Arrays, **fields: object) -> Arrays:
    return Arrays(**(source.model_dump(exclude_unset=True) | fields))


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors", ".pt"])
def test_every_format_gives_the_same(tmp_path, suffix):
    source = written(tmp_path, suffix, x=X, y=Y)
    facts, train = source.facts(), source.load().train
    order = np.argsort(train.x[:, 0, 0])
    np.testing.assert_array_equal(train.x[order], X)
    np.testing.assert_array_equal(train.y[order], Y)
    assert (facts.input, facts.classes) == (Shape((2, 3)), 3)


def test_the_published_mnist_1d_is_what_the_generator_makes(shared_data):
    file = shared_data / "mnist1d_published.npz"
    sets = Arrays(path=file, test_x="x_test", test_y="y_test", channels="none").load()
    ours = MNIST1D().load()
    np.testing.assert_array_equal(sets.test.x, ours.test.x)
    np.testing.assert_array_equal(sets.test.y, ours.test.y)


def test_the_shape_of_the_inputs_is_known_without_reading_them(tmp_path, monkeypatch):
    source = written(tmp_path, ".npz", x=X, y=Y)
    asked = []
    real = np.lib.npyio.NpzFile.__getitem__
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda self, k: asked.append(k) or real(self, k))
    assert source.facts().input == Shape((2, 3))
    assert asked == ["y"]


def test_parts_by_their_names(tmp_path):
    source = written(tmp_path, ".npz", x=X, y=Y, vx=X[:2], vy=Y[:2], tx=X[:3] + 1, ty=Y[:3] + 4)
    parts = changed(source, valid_x="vx", valid_y="vy", test_x="tx", test_y="ty")
    sets = parts.load()
    assert (len(sets.train), len(sets.valid), len(sets.test)) == (8, 2, 3)
    np.testing.assert_array_equal(sets.test.x, X[:3] + 1)
    assert parts.facts().classes == 7


def test_where_the_channels_are(tmp_path):
    pictures = np.arange(120).reshape(2, 4, 5, 3)
    source = written(tmp_path, ".npz", x=pictures, y=np.arange(2))
    last = changed(source, channels="last")
    assert last.facts().input == Shape((3, 4, 5))
    x = last.load().train.x
    np.testing.assert_array_equal(x[np.argsort(x[:, 0, 0, 0])], np.moveaxis(pictures, 3, 1))
    assert changed(source, channels="none").load().train.x.shape == (2, 1, 4, 5, 3)
    assert source.load().train.x.shape == (2, 4, 5, 3)
    flat = written(tmp_path, ".npz", x=np.arange(4.0), y=np.arange(4.0))
    assert changed(flat, channels="none").load().train.x.shape == (4, 1)


def test_bytes_are_scaled(tmp_path):
    source = written(tmp_path, ".npz", x=np.array([[51, 255]], np.uint8), y=np.zeros(1, int))
    np.testing.assert_array_equal(source.load().train.x, np.array([[0.2, 1]], np.float32))
    assert changed(source, scale=False).load().train.x.tolist() == [[51, 255]]


def test_targets_are_classes_or_values(tmp_path):
    source = written(tmp_path, ".npz", x=X, y=Y[:, None].astype(np.uint8))
    assert source.load().train.y.dtype == np.int64
    assert source.load().train.y.shape == (8,)
    values = changed(source, task="regression")
    assert (values.facts().target, values.load().train.y.shape) == (Shape((1,)), (8, 1))
    real = written(tmp_path, ".npz", x=X, y=Y / 2)
    assert real.facts().target == Shape((1,))
    whole = written(tmp_path, ".npz", x=X, y=Y.astype(float))
    assert changed(whole, task="classification").facts().classes == 3


def test_half_precision_of_torch(tmp_path):
    torch.save({"x": torch.ones(4, 2, dtype=torch.bfloat16), "y": torch.arange(4)}, tmp_path / "a.pt")
    assert Arrays(path=tmp_path / "a.pt").load().train.x.dtype == np.float32


class Harm:
    """What a hostile file would run."""

    def __reduce__(self):
        return os.mkdir, (os.environ["DLX_HARM"],)


def test_the_code_in_a_file_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("DLX_HARM", str(tmp_path / "harm"))
    torch.save({"x": Harm(), "y": Harm()}, tmp_path / "a.pt")
    np.savez(tmp_path / "a.npz", x=np.array([[Harm()]]), y=Y[:1])
    assert refusal_of(Arrays(path=tmp_path / "a.npz")) == (
        "`x` of a.npz holds Python objects, whose code is not run | Save an array of numbers."
    )
    assert refusal_of(Arrays(path=tmp_path / "a.pt")) == (
        "a.pt holds Python objects, whose code is not run, or is no file of torch.save | "
        'Save it as torch.save({"x": inputs, "y": targets}, path).'
    )
    assert not (tmp_path / "harm").exists()


def test_mistakes_in_the_file(tmp_path):
    good = written(tmp_path, ".npz", x=X, y=Y)
    assert refusal_of(changed(good, y="labels")) == "a.npz has no array `labels` | There are its arrays x, y."
    assert refusal_of(changed(good, path=tmp_path / "b.npz")) == "b.npz does not exist | Did you mean `a.npz`?"
    assert refusal_of(written(tmp_path, ".npz", x=X, y=Y[:5])) == (
        "`x` of a.npz holds 8 inputs, `y` 5 targets | Give two arrays of the same examples."
    )
    assert refusal_of(written(tmp_path, ".npz", x=X, y=Y - 1)) == (
        "`y` of a.npz holds the class -1, and classes count from 0 | "
        "Number the classes from 0; -1 often stands for a label that is not known."
    )
    assert refusal_of(written(tmp_path, ".npz", x=np.where(X == 7, np.nan, X), y=Y)) == (
        "`x` of a.npz holds 1 values that are not finite in 32 bits, such as nan | Take those examples out."
    )
    assert refusal_of(written(tmp_path, ".npz", x=X * 1j, y=Y)).startswith(
        "`x` of a.npz holds complex64, and real numbers"
    )
    assert refusal_of(written(tmp_path, ".npz", x=X[:0], y=Y[:0])).startswith("`x` of a.npz holds no examples | ")
    assert refusal_of(written(tmp_path, ".npz", x=X[:, 0, 0], y=Y)) == (
        "`x` of a.npz has the shape (8,): one axis, of examples | "
        "`channels: none` makes each number an input of one value."
    )
    parts = written(tmp_path, ".npz", x=X, y=Y, tx=X[:, :1], ty=Y)
    assert refusal_of(changed(parts, test_x="tx", test_y="ty")) == (
        "`x` of a.npz holds inputs of shape (2, 3), `tx` of (1, 3) | Give parts of one set."
    )


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors", ".pt"])
def test_a_torn_file(tmp_path, suffix):
    source = written(tmp_path, suffix, x=X, y=Y)
    source.path.write_bytes(source.path.read_bytes()[:90])
    assert refusal_of(source).startswith(
        {
            ".npy": "a.npy does not begin as an array of NumPy | ",
            ".pt": "a.pt is no file of torch.save, or a torn one | ",
        }.get(suffix, f"a{suffix} cannot be read: ")
    )


def test_other_files(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"")
    assert refusal_of(Arrays(path=tmp_path / "a.mat")) == (
        "a.mat ends in .mat, and arrays are read from .npz, .npy, .safetensors, .pt, .pth | "
        "Save the arrays with numpy.savez."
    )
    torch.save(torch.ones(3), tmp_path / "a.pt")
    assert refusal_of(Arrays(path=tmp_path / "a.pt")) == (
        "a.pt holds a Tensor, and a mapping of names to tensors is wanted | "
        'Save it as torch.save({"x": inputs, "y": targets}, path).'
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"test_x": "a"}, "`test_x` stands without `test_y`: give both names, or neither"),
        (
            {"test_x": "a", "test_y": "b", "test": 5},
            "`test` takes examples from `x`, and `test_x` brings them: give one of the two",
        ),
        (
            {"valid_x": "a", "valid_y": "b", "folds": 5, "fold": 1},
            "`folds` takes examples from `x`, and `valid_x` brings them: give one of the two",
        ),
        (
            {"path": "a.npy"},
            "a file .npy holds one array: give the inputs as `path` and the targets as `targets`, or `target: null`",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields, sentence):
    with pytest.raises(ValidationError) as raised:
        Arrays(**({"path": "a.npz"} | fields))
    assert raised.value.errors()[0]["msg"] == f"Value error, {sentence}"


def header(dtype: str, shape: str, ending: bytes = bytes(96)) -> bytes:
    """A file .npy that promises an array, and its `ending`."""
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + ending


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            header("'<f8'", "(1000000000000, 3)"),
            "promises 1000000000000x3 values of float64, 24,000,000,000,000 bytes, and holds 96 | Fetch or",
        ),
        (header("'<f8'", f"({10**30}, 3)"), f"promises {10**30}x3 values of float64, 24,000"),
        (header("'<f8'", f"({2**62}, 4)"), f"promises {2**62}x4 values of float64, 147,573,952,589,676,412,928 "),
        (header("'<f8'", "(4, 3)", bytes(88)), "promises 4x3 values of float64, 96 bytes, and holds 88 | "),
        (header("'<f8'", "(-4, 3)"), "promises an array of the impossible shape (-4, 3) | "),
        (header("'<f8'", "(True, 3)"), "promises an array of the impossible shape (True, 3) | "),
        (header("'<f8'", f"({'1, ' * 70})"), "promises an array of the impossible shape (1, 1, "),
        (header("'|O'", "(4,)"), "holds Python objects, whose code is not run | Save an array of numbers."),
        (header("'<U1'", "(4, 3)"), "holds <U1, and real numbers are wanted | "),
        (header("'<M8[s]'", "(4, 3)"), "holds datetime64[s], and real numbers are wanted | "),
        (header("[('a', '<f8')]", "(4, 3)"), "holds [('a', '<f8')], and real numbers are wanted | "),
        (header("'<f8'", "(4, 0)", b""), "has the shape (4, 0): no values | "),
        (header("'<q99'", "(4, 3)"), "does not begin as an array of NumPy | Fetch or write the file again."),
        (header("len", "(4, 3)"), "does not begin as an array of NumPy | "),
        (b"", "does not begin as an array of NumPy | "),
        (b"1, 2, 3", "does not begin as an array of NumPy | "),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_the_header_of_an_array_promises_is_checked(tmp_path, content, sentence, packed):
    np.save(tmp_path / "y.npy", np.arange(4))
    if packed:
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
            file.writestr("x.npy", content)
            file.writestr("y.npy", (tmp_path / "y.npy").read_bytes())
        assert sentence in refusal_of(Arrays(path=tmp_path / "a.npz"))
    else:
        (tmp_path / "a.npy").write_bytes(content)
        for stream in (True, False):
            assert sentence in refusal_of(Arrays(path=tmp_path / "a.npy", targets=tmp_path / "y.npy", stream=stream))


@pytest.mark.parametrize(
    ("tensor", "sentence"),
    [
        (lambda: torch.ones(4, 3).to_sparse(), "`x` of a.pt is a sparse tensor, and dense ones are read | "),
        (lambda: torch.ones(4, 3, device="meta"), "`x` of a.pt is a meta tensor, and dense ones are read | "),
        (lambda: torch.ones(4, 3, dtype=torch.complex64), "`x` of a.pt holds complex64, and real numbers are wanted"),
        (lambda: [1, 2], "`x` of a.pt is a list, not a tensor | "),
    ],
)
def test_tensors_that_are_no_plain_arrays(tmp_path, tensor, sentence):
    torch.save({"x": tensor(), "y": torch.arange(4)}, tmp_path / "a.pt")
    assert refusal_of(Arrays(path=tmp_path / "a.pt")).startswith(sentence)


def test_small_floats_of_torch_become_float32(tmp_path):
    x = torch.arange(8.0).reshape(4, 2)
    torch.save({"x": x.to(torch.float8_e4m3fn), "y": torch.arange(4)}, tmp_path / "a.pt")
    save_torch({"x": x.bfloat16(), "y": torch.arange(4)}, tmp_path / "a.safetensors")
    for suffix in (".pt", ".safetensors"):
        train = Arrays(path=tmp_path / f"a{suffix}").load().train
        assert train.x[np.argsort(train.y)].tolist() == x.tolist()


def test_a_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    os.mkfifo(tmp_path / "a.csv")
    end = "is neither a file nor a folder, but a pipe or a device | Copy it to a file."
    assert refusal_of(Arrays(path=tmp_path / "a.npz")) == f"a.npz {end}"
    assert refusal_of(Table(path=tmp_path / "a.csv", target="y")) == f"a.csv {end}"
    assert refusal_of(IDX(images=tmp_path / "a.npz", labels=tmp_path / "a.npz")).endswith(end)


def test_names_with_folders_and_names_twice(tmp_path):
    np.savez(tmp_path / "a.npz", **{"a/x": X, "a/y": Y})
    assert Arrays(path=tmp_path / "a.npz", x="a/x", y="a/y").facts().input == Shape((2, 3))
    assert refusal_of(Arrays(path=tmp_path / "a.npz")) == "a.npz has no array `x` | There are its arrays a/x, a/y."
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the second one
        for _ in range(2):
            file.writestr("x.npy", header("'<f8'", "(4, 3)"))
    assert refusal_of(Arrays(path=tmp_path / "b.npz")) == "b.npz holds two arrays `x` | Write the file again."


def test_arrays_of_a_test_part_are_taken_by_their_names(tmp_path):
    source = written(tmp_path, ".npz", x=X, y=Y, test_x=X[:3] + 1, test_y=Y[:3], valid_x=X[:2], valid_y=Y[:2])
    sets = source.load()
    np.testing.assert_array_equal(sets.test.x, X[:3] + 1)
    assert (len(sets.train), len(sets.valid)) == (8, 2)
    assert [(use.name, use.taken_for) for use in source.facts().columns] == [
        ("x", "inputs"),
        ("y", "targets, classes"),
        ("valid_x", "inputs, valid part"),
        ("valid_y", "targets, classes, valid part"),
        ("test_x", "inputs, test part"),
        ("test_y", "targets, classes, test part"),
    ]
    held_out = changed(source, test=2)
    assert len(held_out.load().test) == 2
    (warning,) = held_out.facts().warnings
    assert warning.message.endswith("holds `test_x` and `test_y` too, which nothing names")
    assert changed(source, x="test_x", y="test_y", valid=0).load().test is None


def test_floats_that_are_labels_are_said(tmp_path):
    labels = (Y > 0).astype(float)
    source = written(tmp_path, ".npz", x=X, y=labels)
    (warning,) = source.facts().warnings
    assert warning.message.endswith("holds 0 and 1: labels, which are fitted as values")
    assert warning.hint.startswith("`task: classification` takes whole numbers for classes")
    assert source.load().notes == (f"{warning.message}. {warning.hint}",)
    assert changed(source, task="classification").facts().classes == 2
    assert changed(source, task="regression").facts().warnings == ()
    several = written(tmp_path, ".npz", x=X, y=np.stack([labels, 1 - labels, labels], 1))
    (warning,) = several.facts().warnings
    assert warning.hint.startswith("`task: multilabel` takes several labels an example")
    whole = written(tmp_path, ".npz", x=X, y=np.stack([Y > 0, Y > 1], 1))
    assert "`task: multilabel` takes several labels an example" in refusal_of(whole)


def test_seconds_are_standardised_in_double_precision_streamed_or_not(tmp_path):
    x = 1_700_000_000 + np.arange(200.0)[:, None]
    source = written(tmp_path, ".npy", x=x, y=(np.arange(200) >= 100) * 1)
    held, streamed = (changed(source, standardize="feature", stream=stream).load() for stream in (False, True))
    order = np.argsort(held.train.rows)
    standard = (x - x.mean()) / x.std()
    np.testing.assert_allclose(held.train.x[order], standard, rtol=1e-6)
    assert held.digest == streamed.digest
    np.testing.assert_array_equal(held.train.x, streamed.train.x[:])
    assert source.load().notes[0].startswith("1 input value of 1 cannot be told apart in 32 bits")


SEVERAL = """\
data: {arrays: {path: l.npz, test: 10TASK}}
network: {layers: [{linear: 4}]}
train: {epochs: 1}
"""


def graph_of_labels(tmp_path, dtype: str, task: str = "", objective: str = ""):
    y = np.arange(160).reshape(40, 4) % 3 % 2
    np.savez(tmp_path / "l.npz", x=np.ones((40, 3), "f4"), y=y.astype(dtype))
    path = tmp_path / "s.yaml"
    path.write_text(SEVERAL.replace("TASK", task and f", task: {task}") + objective)
    experiment = load(path)
    return trace(experiment), objective_of(experiment).kind


@pytest.mark.parametrize("dtype", ["int64", "bool", "float32"])
def test_several_labels_an_example_are_for_their_objective(tmp_path, dtype):
    graph, kind = graph_of_labels(tmp_path, dtype, "multilabel")
    assert (kind, graph.warnings) == ("multilabel", ())


def test_labels_that_an_objective_learns_are_no_values_fitted_by_mistake(tmp_path):
    graph, _ = graph_of_labels(tmp_path, "float32", objective="objective: multilabel\n")
    assert graph.warnings == ()
    (warning,) = graph_of_labels(tmp_path, "float32")[0].warnings
    assert "labels, which are fitted as values" in warning.message


def test_labels_are_not_learned_as_values_or_classes(tmp_path):
    with pytest.raises(SpecError) as error:
        graph_of_labels(tmp_path, "float32", "multilabel", "objective: regression\n")
    (problem,) = error.value.problems
    place = f"{tmp_path / 's.yaml'}:4:1"
    assert (
        problem.message == f"`task: multilabel` says that targets are labels, and regression ({place}) learns values"
    )
    assert problem.hint == "Write `objective: multilabel`, or another `task`."
    assert (problem.mark.line, problem.path) == (1, "data.arrays.task")
