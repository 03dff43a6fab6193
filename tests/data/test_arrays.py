"""Arrays in files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.numpy import save_file

from dlx.data.arrays import Arrays
from dlx.data.mnist1d import MNIST1D
from dlx.errors import DataError
from dlx.shapes import Shape

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


def told(source: Arrays) -> str:
    with pytest.raises(DataError) as raised:
        source.load()
    (problem,) = raised.value.problems
    return f"{problem.message} | {problem.hint}".replace(f"{source.path.parent}/", "")


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
    for file in ("a.pt", "a.npz"):
        sentence = told(Arrays(path=tmp_path / file))
        assert sentence.startswith(f"{file} cannot be read: ")
        assert sentence.endswith(" | It holds Python objects, whose code is not run: save plain arrays.")
    assert not (tmp_path / "harm").exists()


def test_mistakes_in_the_file(tmp_path):
    good = written(tmp_path, ".npz", x=X, y=Y)
    assert told(changed(good, y="labels")) == "a.npz has no array `labels` | There are its arrays x, y."
    assert told(changed(good, path=tmp_path / "b.npz")) == "b.npz does not exist | Did you mean `a.npz`?"
    assert told(written(tmp_path, ".npz", x=X, y=Y[:5])) == (
        "`x` of a.npz holds 8 inputs, `y` 5 targets | Give two arrays of the same examples."
    )
    assert told(written(tmp_path, ".npz", x=X, y=Y - 1)) == (
        "`y` of a.npz holds the class -1, and classes count from 0 | "
        "Number the classes from 0; -1 often stands for a label that is not known."
    )
    assert told(written(tmp_path, ".npz", x=np.where(X == 7, np.nan, X), y=Y)) == (
        "`x` of a.npz holds 1 values that are not finite in 32 bits, such as nan | Take those examples out."
    )
    assert told(written(tmp_path, ".npz", x=X * 1j, y=Y)).startswith("`x` of a.npz holds complex64, and real numbers")
    assert told(written(tmp_path, ".npz", x=X[:0], y=Y[:0])).startswith("`x` of a.npz holds no examples | ")
    assert told(written(tmp_path, ".npz", x=X[:, 0, 0], y=Y)) == (
        "`x` of a.npz has the shape (8,): one axis, of examples | "
        "`channels: none` makes each number an input of one value."
    )
    parts = written(tmp_path, ".npz", x=X, y=Y, tx=X[:, :1], ty=Y)
    assert told(changed(parts, test_x="tx", test_y="ty")) == (
        "`x` of a.npz holds inputs of shape (2, 3), `tx` of (1, 3) | Give parts of one set."
    )


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors", ".pt"])
def test_a_torn_file(tmp_path, suffix):
    source = written(tmp_path, suffix, x=X, y=Y)
    source.path.write_bytes(source.path.read_bytes()[:90])
    assert told(source).startswith(f"a{suffix} cannot be read: ")


def test_other_files(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"")
    assert told(Arrays(path=tmp_path / "a.mat")) == (
        "a.mat ends in .mat, and arrays are read from .npz, .npy, .safetensors, .pt, .pth | "
        "Save the arrays with numpy.savez."
    )
    torch.save(torch.ones(3), tmp_path / "a.pt")
    assert told(Arrays(path=tmp_path / "a.pt")) == (
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
        ({"path": "a.npy"}, "a file .npy holds one array: give the inputs as `path` and the targets as `targets`"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields, sentence):
    with pytest.raises(ValidationError) as raised:
        Arrays(**({"path": "a.npz"} | fields))
    assert raised.value.errors()[0]["msg"] == f"Value error, {sentence}"
