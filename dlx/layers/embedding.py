"""From integers and booleans to floats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from ..errors import ShapeError
from ..shapes import Shape
from .base import OWN, AxisMap, Example, Layer, Plan, SavedIf

if TYPE_CHECKING:
    from torch.nn import Module


class Embedding(Layer):
    """Look up a learned vector for each integer, such as the number of a word in a vocabulary.

    Shapes: integers (T,) -> (T, embedding_dim); in general (*) -> (*, embedding_dim). Tokens come first and their
        values last, as `linear` and attention want them; `- transpose` puts the values where a convolution has its
        channels.
    Cost: num_embeddings * embedding_dim parameters; no MACs, for a row is read and nothing multiplied.
    Errors: an input that is not of integers; a `padding_idx` beyond the table. A number beyond it
        is one where the data says what it holds, and else fails when it runs.
    Source: Bengio et al. 2003, "A neural probabilistic language model", section 2. torch: Embedding.
    """

    kind: ClassVar[str] = "embedding"
    num_embeddings: PositiveInt = Field(
        description="rows of the table: numbers from 0 up to this, without it; of a text by default its vocabulary"
    )
    embedding_dim: PositiveInt = Field(description="values in a row")
    padding_idx: int | None = Field(None, description="the number whose row is zeros, and is not learned")

    learns: ClassVar[bool] = True
    lends: ClassVar[Literal["transposed", "as it is"] | None] = "as it is"
    from_data: ClassVar[Mapping[str, str]] = {"num_embeddings": "vocabulary"}
    example: ClassVar[Example] = Example(
        {"num_embeddings": 100, "embedding_dim": 12}, [(7,)], shape=(7, 12), params=100 * 12, dtype="int"
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        _integers(x, "embedding", "Token numbers are declared as")
        n, index = self.num_embeddings, self.padding_idx
        if index is not None and not -n <= index < n:
            raise ShapeError(
                f"embedding has padding_idx = {index}, and its table has {n} rows",
                hint=f"Name one of 0 to {n - 1}, or make room: `num_embeddings: {index + 1}`."
                if index > 0
                else f"Name one of 0 to {n - 1}.",
            )
        return Plan(
            shape=Shape((*x, self.embedding_dim)),
            weights={"weight": (n, self.embedding_dim)},
            window=AxisMap((*range(len(x)), None)),
            saved=(),
            saved_if=(SavedIf((OWN,), input=0),),
            reads_weights=(),
        )

    def module(self, *_: Shape) -> Module:
        from ..modules.embedding import Embedding as Built

        return Built(**self.options())


class OneHot(Layer):
    """One-hot encode integers.

    Shapes: integers (*) -> (*, num_classes) of floats; with dim = 1, (H, W) -> (num_classes, H, W).
    Cost: nothing learned; no MACs.
    Errors: an input that is not of integers; a `dim` that is the batch or no axis of the output. A number that is not
        below `num_classes` fails when it runs.
    Source: Russell & Norvig 2021, Artificial Intelligence, section 22.2.1. torch: none; it is functional.one_hot, in
        floats.
    """

    kind: ClassVar[str] = "one_hot"
    num_classes: PositiveInt = Field(description="places in a row: numbers from 0 up to this, without it")
    dim: int = Field(-1, description="where the new axis stands in the output; the batch is axis 0, -1 the end")

    example: ClassVar[Example] = Example({"num_classes": 10}, [(7,)], shape=(7, 10), dtype="int")

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        _integers(x, "one_hot", "Class numbers are declared as")
        axis = self._axis(x)
        window = AxisMap((*range(axis), None, *range(axis, len(x))))
        return Plan(shape=Shape((*x[:axis], self.num_classes, *x[axis:])), window=window, saved=())

    def _axis(self, x: Shape) -> int:
        where = self.dim + len(x) + 2 if self.dim < 0 else self.dim
        if not 1 <= where <= len(x) + 1:
            raise ShapeError(
                f"one_hot has dim = {self.dim}, and its output for {{0}} has the axes 1 to {len(x) + 1}",
                hint="1 puts the classes where channels are, -1 at the end; the batch is axis 0.",
                inputs=[x],
            )
        return where - 1

    def module(self, *xs: Shape) -> Module:
        from ..modules.embedding import OneHot as Built

        return Built(self.num_classes, self._axis(xs[0]) + 1)


class ToFloat(Layer):
    """Convert integers, or booleans as 0 and 1, to floats.

    Shapes: (*) -> (*).
    Cost: nothing learned; no MACs.
    Errors: none.
    Source: arithmetic. torch: none; it is x.float().
    """

    kind: ClassVar[str] = "to_float"

    example: ClassVar[Example] = Example({}, [(1, 8, 8)], shape=(1, 8, 8), dtype="bool")

    def plan(self, *xs: Shape) -> Plan:
        return Plan(shape=Shape(xs[0]), view=xs[0].dtype == "float", saved=())

    def module(self, *_: Shape) -> Module:
        from ..modules.embedding import ToFloat as Built

        return Built()


def _integers(x: Shape, kind: str, way: str) -> None:
    """Raise a ShapeError for an input that is not of integers."""
    if x.dtype != "int":
        raise ShapeError(
            f"{kind} looks numbers up, and {{0}} holds values of dtype {x.dtype}",
            hint=f"{way} `{{shape: {list(x)}, dtype: int}}` under `inputs`; `arrays` and `table` give integers by "
            "`inputs: {NAME: {..., is: integers}}`.",
            inputs=[x],
        )
