"""CIFAR in its binary version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dlx.data.published.cifar import CIFAR10, CIFAR100
from dlx.errors import DataError
from dlx.shapes import Shape


def record(labels: list[int], red: int, green: int) -> bytes:
    """One picture: all of a red and a green, the blue of each pixel its row."""
    blue = np.repeat(np.arange(32, dtype=np.uint8), 32)
    return bytes(labels) + bytes([red] * 1024) + bytes([green] * 1024) + blue.tobytes()


@pytest.fixture
def folder(tmp_path) -> Path:
    for i in range(1, 6):
        (tmp_path / f"data_batch_{i}.bin").write_bytes(record([i], i, 51) + record([i + 4], i, 51))
    (tmp_path / "test_batch.bin").write_bytes(record([9], 100, 51))
    return tmp_path


def refusal_of(source: CIFAR10) -> str:
    with pytest.raises(DataError) as raised:
        source.load()
    (problem,) = raised.value.problems
    return f"{problem.message} | {problem.hint}".replace(f"{source.path}/", "")


def test_planes_of_colour_and_rows_are_where_they_should_be(folder):
    source = CIFAR10(path=folder, valid=4)
    sets = source.load()
    assert (source.facts().input, source.facts().classes) == (Shape((3, 32, 32)), 10)
    assert (len(sets.train), len(sets.valid), len(sets.test)) == (6, 4, 1)
    assert sets.test.y.tolist() == [9]
    np.testing.assert_allclose(sets.test.x[0, 0] * 255, 100, rtol=1e-6)
    assert (sets.test.x[0, 1] == np.float32(0.2)).all()
    np.testing.assert_allclose(sets.test.x[0, 2, :, 5] * 255, np.arange(32), rtol=1e-5, atol=1e-6)
    both = np.concatenate([sets.train.y, sets.valid.y])
    assert sorted(both.tolist()) == [1, 2, 3, 4, 5, 5, 6, 7, 8, 9]


def test_names_come_from_their_file(folder):
    assert CIFAR10(path=folder).load().class_names == ()
    (folder / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n\n")
    assert CIFAR10(path=folder).load().class_names == tuple("abcdefghij")


def test_the_second_byte_is_the_fine_class(tmp_path):
    (tmp_path / "train.bin").write_bytes(record([3, 77], 1, 2) * 3)
    (tmp_path / "test.bin").write_bytes(record([4, 99], 1, 2))
    sets = CIFAR100(path=tmp_path, standardize="none").load()
    assert (sets.train.y.tolist(), sets.test.y.tolist()) == ([77, 77, 77], [99])
    assert CIFAR100(path=tmp_path).facts().classes == 100


def test_mistakes(folder):
    assert refusal_of(CIFAR10(path=folder, test=2)) == (
        "`test` takes pictures from the training files, and test_batch.bin brings them | Leave out `test`."
    )
    (folder / "data_batch_3.bin").write_bytes(record([1], 1, 2)[:1000])
    assert refusal_of(CIFAR10(path=folder)) == (
        "data_batch_3.bin has 1,000 bytes, and pictures take 3,073 each: 0.33 of them | "
        "Fetch the file again: the binary version is wanted, unpacked."
    )
    (folder / "data_batch_3.bin").write_bytes(record([10], 1, 2))
    assert refusal_of(CIFAR10(path=folder)).startswith(
        "data_batch_3.bin holds the class 10, and there are 10, from 0 on | "
    )
    (folder / "data_batch_3.bin").unlink()
    assert refusal_of(CIFAR10(path=folder)).startswith("data_batch_3.bin does not exist | Did you mean `data_batch_")
