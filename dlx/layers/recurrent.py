"""Recurrent layers, with a state that is passed from step to step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from ..errors import ShapeError
from ..shapes import Shape
from .arithmetic import Line, line, summed, unchanged
from .base import OWN, AxisMap, Example, InputPaths, Layer, Plan, SavedIf, all_floats
from .recurrent_extents import EXTENTS, check_extents, extents_of

if TYPE_CHECKING:
    from torch.nn import Module

FLOAT = 4
ON_META = "torch on the meta device, in tests/layers/test_recurrent.py: oneDNN's product on a CPU is not counted"


@dataclass(frozen=True)
class _Direction:
    """One layer in one direction: the suffix of its weights' names, and the number of values of a step that it
    reads.
    """

    suffix: str
    values: int


class _Recurrent(Layer):
    hidden_size: PositiveInt = Field(description="values of the state")
    num_layers: PositiveInt = Field(1, le=1000, description="layers, each over all that the one below gives")
    bias: bool | Literal["one"] = Field(
        True, description="add two learned values to each sum, as torch does; one: a single one, as books do"
    )
    dropout: float = Field(0.0, ge=0, le=1, description="probability that a value between two layers is dropped")
    bidirectional: bool = Field(False, description="run from the last step to the first too, with weights of its own")
    return_sequences: bool = Field(True, description="give what each step gives; false: only the end")

    takes: list[Literal["input", "h_0", "c_0", "lengths", "document"]] | None = Field(
        None, description="names of the inputs, as `from` gives them; null: input, h_0, c_0"
    )

    learns: ClassVar[bool] = True
    arity: ClassVar[int | tuple[int, ...] | None] = (1, 2, 3, 4)
    input_names: ClassVar[tuple[str, ...]] = ("input", "h_0", *EXTENTS)
    gates: ClassVar[int] = 1
    """Number of sums for each value of the state."""

    @property
    def output_size(self) -> int:
        """Number of values that a step gives, in one direction."""
        return self.hidden_size

    @property
    def projected(self) -> int:
        """Number of output values that the state is projected to; 0 for none."""
        return 0

    @property
    def is_own(self) -> bool:
        """Whether torch has no such layer, so that dlx loops over the steps itself."""
        return False

    @property
    def directions(self) -> int:
        return 1 + self.bidirectional

    @property
    def rows(self) -> int:
        """Number of states, one per layer and direction."""
        return self.num_layers * self.directions

    def plan(self, *xs: Shape) -> Plan:
        extents = extents_of(self, xs)
        xs, all_xs = tuple(x for i, x in enumerate(xs) if i not in extents.values()), xs
        all_floats(xs, self.kind)
        self._check(xs)
        check_extents(self.kind, extents, all_xs)
        steps, values = xs[0]
        width = self.directions * self.output_size
        idle = f"dropout = {self.dropout:g} stands between layers, and {self.kind} has one: it does nothing"
        return Plan(
            shape=Shape((steps, width) if self.return_sequences else (width,)),
            weights={
                name: size
                for direction in self._each_direction(values)
                for name, size in self._weights(direction).items()
            },
            buffers={
                f"bias_hh{direction.suffix}": (self._sums,)
                for direction in self._each_direction(values)
                if self.bias == "one"
            },
            macs=steps * sum(map(self._products, self._each_direction(values))),
            window=self._seen([i for i in range(len(all_xs)) if i not in extents.values()]),
            no_gradient=tuple(extents.values()),
            saved=("inputs",) if self._reads_in_place(xs) and not extents else (),
            saved_bytes=FLOAT * self._held(xs) + (self._masks(steps) if extents else 0),
            saved_if=(SavedIf((0, OWN), input=0),) if self._is_read_alone(xs) else (),
            sequential_steps=steps * self.rows,
            warnings=(idle,) if self.dropout and self.num_layers == 1 else (),
        )

    def results(self, *xs: Shape) -> Mapping[str, Shape]:
        return {"state": self._rows_of(self.output_size)}

    def _rows_of(self, values: int) -> Shape:
        """Return the shape of all states, or of the one: that which a wired initial state has."""
        return Shape((self.rows, values) if self.rows > 1 else (values,))

    def _masks(self, steps: int) -> int:
        """Return the bytes saved to leave out what is behind the end: a mask, and where a text ends."""
        return steps * self.num_layers + 8 * self.rows

    def _seen(self, inputs: Sequence[int]) -> InputPaths:
        """Return the dependency on the inputs: every step, and for sequences each step at its own place."""
        whole = AxisMap((None, None) if self.return_sequences else (None,))
        stay: tuple[tuple[int, AxisMap], ...] = ((0, AxisMap((0, None))),) if self.return_sequences else ()
        return InputPaths((*stay, *((i, whole) for i in inputs)))

    @property
    def _sums(self) -> int:
        return self.gates * self.hidden_size

    def _each_direction(self, values: int) -> Iterator[_Direction]:
        for layer in range(self.num_layers):
            for direction in ("", "_reverse")[: self.directions]:
                yield _Direction(f"_l{layer}{direction}", self.directions * self.output_size if layer else values)

    def _weights(self, direction: _Direction) -> Mapping[str, tuple[int, ...]]:
        """Return the weights of one layer in one direction, by torch's names."""
        weights: dict[str, tuple[int, ...]] = {f"weight_ih{direction.suffix}": (self._sums, direction.values)}
        weights |= {f"weight_hh{direction.suffix}": (self._sums, self.output_size)}
        biases = {True: ("ih", "hh"), "one": ("ih",), False: ()}[self.bias]
        return weights | {f"bias_{of}{direction.suffix}": (self._sums,) for of in biases}

    def _products(self, direction: _Direction) -> int:
        """Return the MACs of a step."""
        return self._sums * (direction.values + self.output_size) + self.projected * self.hidden_size

    def _check(self, xs: Sequence[Shape]) -> None:
        x, *states = xs
        if len(x) != 2:
            alone, rows = "`- reshape: [-1, 1]` makes a step of each value.", f"`- reshape: [{x[0]}, -1]`"
            raise ShapeError(
                f"{self.kind} goes from step to step of (steps, values), and {{0}} has "
                f"{'a single axis' if len(x) == 1 else f'{len(x)} axes'}",
                hint=alone if len(x) == 1 else f"{rows} makes a step of each of the {x[0]} on its first axis.",
                inputs=xs,
            )
        for i, (state, values) in enumerate(zip(states, (self.output_size, self.hidden_size), strict=False), start=1):
            if state != (self.rows, values) and (self.rows > 1 or state != (values,)):
                one = f" or ({values},)" if self.rows == 1 else ""
                raise ShapeError(
                    f"the state that {self.kind} begins at is {{{i}}}, and it has ({self.rows}, {values}){one}",
                    hint="One row for each layer, and for each direction of it; `- linear` makes the values fit.",
                    inputs=xs,
                )

    # --- what torch holds for the backward pass ---

    def _reads_in_place(self, xs: Sequence[Shape]) -> bool:
        """Whether torch saves the input itself; with several steps it copies them to put the steps before the
        batch.
        """
        return (xs[0][0] == 1 or self.is_own) and (len(xs) == 1 or self.rows == 1)

    def _is_read_alone(self, xs: Sequence[Shape]) -> bool:
        """Whether the steps are saved as they are, and the states are copies."""
        return not self._reads_in_place(xs) and (self.is_own or xs[0][0] == 1)

    def _held(self, xs: Sequence[Shape]) -> int:
        """Return the number of floats saved for all steps: inputs of each layer, intermediate results, masks of
        dropout.
        """
        steps = xs[0][0]
        between = steps * self.directions * self.output_size * (self.num_layers - 1)
        return (
            self._copied(xs)
            + between * (1 + (self.dropout > 0))
            + self.rows * self._saved_per_direction(steps)
            - (sum(x.count for x in xs[1:]) if self._reads_in_place(xs) else 0)
        )

    def _copied(self, xs: Sequence[Shape]) -> int:
        """Return the number of floats in copies of the input, one per direction."""
        return xs[0].count * self.directions if xs[0][0] > 1 and not self.is_own else 0

    def _saved_per_direction(self, steps: int) -> int:
        """Return the number of floats saved for all steps of one layer in one direction."""
        raise NotImplementedError

    # --- in words ---

    def equations(self) -> Sequence[str]:
        """Return the equations of a step, as textbooks write them."""
        raise NotImplementedError

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        steps, values = xs[0]
        directions, last = list(self._each_direction(values)), len(plan.shape) - 1
        sizes = {"directions": self.directions, "values": self.output_size}
        once = summed([self._products(direction) for direction in directions])
        numbers = f"{steps:,} steps * {f'({once})' if len(directions) > 1 else once}"
        return [
            *(replace(made, what="steps") for made in unchanged(xs[0], range(last))),
            line("directions * values" if self.bidirectional else "values", sizes, axes=last, what="values"),
            *(made for direction in directions for made in self._of_weights(direction)),
            *(Line(note=equation, part="multiply-adds") for equation in self.equations()),
            *(self._of_a_step(direction) for direction in directions),
            Line("", "steps * products of a step", numbers, plan.macs, part="multiply-adds"),
        ]

    def _of_weights(self, direction: _Direction) -> Iterator[Line]:
        sums = "gates * hidden_size" if self.gates > 1 else "hidden_size"
        for of, what, size in (("ih", "values", direction.values), ("hh", "state", self.output_size)):
            sizes = {"gates": self.gates, "hidden_size": self.hidden_size, what: size}
            yield line(f"{sums} * {what}", sizes, what=f"weight_{of}{direction.suffix}", part="parameters")

    def _of_a_step(self, direction: _Direction) -> Line:
        sizes = {
            "gates": self.gates,
            "hidden_size": self.hidden_size,
            "values": direction.values,
            "state": self.output_size,
        }
        formula = f"{'gates * ' if self.gates > 1 else ''}hidden_size * (values + state)"
        formula += " + hidden_size * state" if self.projected else ""
        return line(formula, sizes, what=f"a step of {direction.suffix[1:]}", part="multiply-adds")

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments of the modules."""
        own = self.options("hidden_size", "dropout", "bias")
        quiet = self.dropout if self.num_layers > 1 else 0.0
        own["takes"] = (self.takes or self.input_names)[1:]
        return {**own, "dropout": quiet, "bias": bool(self.bias), "one_bias": self.bias == "one"}


class RNN(_Recurrent):
    """Recurrent layer: the state is an activation of linear maps of the state before and of the input.

    Shapes: (T, C) -> (T, D * hidden_size), with D = 2 where it is `bidirectional` and 1 elsewhere; without
        `return_sequences` (D * hidden_size,), the state behind the last step, and of the way back behind the first.
        A second input is the state to begin at, of (num_layers * D, hidden_size), or (hidden_size,) where that is one
        row; else it begins at zeros. `from: NAME.state` takes the states that it ends in, in the same shape. Sizes
        are torch's with batch_first; `- transpose` brings (C, T) here. By name it takes `lengths`, how many steps are
        real: outputs behind are zeros, it ends in the state of the last real step, where the way back begins; and
        `document` of (T,), the number of each step's document, with each of which it begins at zeros.
    Cost: hidden_size * (C + hidden_size) weights, and 2 * hidden_size biases, for each layer and direction, where C
        of the layers above is D * hidden_size; T times those weights as MACs.
    Errors: an input that is not (steps, values), or not of floats; a state of another shape; lengths or documents
        that are no whole numbers.
    Source: Elman 1990, "Finding structure in time"; Russell & Norvig 2021, equation 22.13. torch: none; its RNN has
        these weights, under these names, and gives sequence and end together. `return_sequences` is Keras' word;
        `bias: one`, sigmoid and identity are not torch's.
    """

    kind: ClassVar[str] = "rnn"
    nonlinearity: Literal["tanh", "relu", "sigmoid", "identity"] = Field(
        "tanh", description="activation of the state"
    )

    example: ClassVar[Example] = Example(
        {"hidden_size": 4}, [(5, 3)], shape=(5, 4), params=4 * 3 + 4 * 4 + 2 * 4, macs=5 * (4 * 3 + 4 * 4)
    )

    def equations(self) -> Sequence[str]:
        return [f"z_t = {self.nonlinearity}(W_ih x_t + W_hh z_(t-1) + b)"]

    def _saved_per_direction(self, steps: int) -> int:
        return (steps + (self.nonlinearity != "identity")) * self.hidden_size

    @property
    def is_own(self) -> bool:
        return self.nonlinearity in ("sigmoid", "identity")

    def module(self, *xs: Shape) -> Module:
        from ..modules import recurrent

        arguments = self._arguments()
        if self.is_own:
            arguments["activation"] = arguments.pop("nonlinearity")
        built = recurrent.OtherRNN if self.is_own else recurrent.RNN
        return built(xs[0][-1], self.hidden_size, **arguments)


class GRU(_Recurrent):
    """Gated recurrent unit: two gates, computed from input and state, reset and update the state.

    Shapes: those of `rnn`: (T, C) -> (T, D * hidden_size), or (D * hidden_size,) without `return_sequences`; a second
        input is the state to begin at.
    Cost: 3 * hidden_size * (C + hidden_size) weights, and 6 * hidden_size biases, for each layer and direction; T
        times those weights as MACs.
    Errors: those of `rnn`: an input that is not (steps, values), or not of floats; a state of another shape.
    Source: Cho et al. 2014, arXiv:1406.1078, section 2.3; torch resets the sums of the state where the paper resets
        the state (Keras: reset_after). torch: none; its GRU has these weights, under these names. `return_sequences`
        is Keras' word, and `bias: one` is not torch's.
    """

    kind: ClassVar[str] = "gru"

    gates: ClassVar[int] = 3
    example: ClassVar[Example] = Example(
        {"hidden_size": 4}, [(5, 3)], shape=(5, 4), params=3 * (4 * 3 + 4 * 4 + 2 * 4), macs=5 * 3 * (4 * 3 + 4 * 4)
    )

    def equations(self) -> Sequence[str]:
        return [
            "r_t and u_t = sigmoid(W x_t + U z_(t-1) + b), each with rows of its own",
            "n_t = tanh(W x_t + r_t * (U z_(t-1) + b_hh) + b_ih), and z_t = (1 - u_t) * n_t + u_t * z_(t-1)",
        ]

    def _saved_per_direction(self, steps: int) -> int:
        return 7 * steps * self.hidden_size

    def module(self, *xs: Shape) -> Module:
        from ..modules import recurrent

        return recurrent.GRU(xs[0][-1], self.hidden_size, **self._arguments())


class LSTM(_Recurrent):
    """Long short-term memory: a state, and cells that gates clear, write and read.

    Shapes: those of `rnn`: (T, C) -> (T, D * hidden_size), or (D * hidden_size,) without `return_sequences`; with
        `proj_size`, that many values in place of hidden_size. A second input is the state to begin at, a third the
        cells, of (num_layers * D, hidden_size), or (hidden_size,) where that is one row. `from: NAME.state` and
        `NAME.cell` take those that it ends in.
    Cost: 4 * hidden_size * (C + hidden_size) weights, and 8 * hidden_size biases, for each layer and direction; T
        times those weights as MACs. Until the backward pass oneDNN, which runs it on a CPU, holds about twice the
        memory of torch's own kernel, which is the one that is forecast.
    Errors: those of `rnn`: an input that is not (steps, values), or not of floats; a state of another shape; a
        `proj_size` that is not below hidden_size.
    Source: Hochreiter & Schmidhuber 1997, Gers et al. 2000; Russell & Norvig 2021, section 22.6.2, without biases.
        torch: none; its LSTM has these weights, under these names, with two biases for each unit of a gate.
        `return_sequences` is Keras' word, and `bias: one` is not torch's.
    """

    kind: ClassVar[str] = "lstm"
    proj_size: NonNegativeInt = Field(0, description="values that the state is brought down to; 0: as it is")

    arity: ClassVar[int | tuple[int, ...] | None] = (1, 2, 3, 4, 5)
    input_names: ClassVar[tuple[str, ...]] = ("input", "h_0", "c_0", *EXTENTS)
    gates: ClassVar[int] = 4
    example: ClassVar[Example] = Example(
        {"hidden_size": 4},
        [(5, 3)],
        shape=(5, 4),
        params=4 * (4 * 3 + 4 * 4 + 2 * 4),
        macs=5 * 4 * (4 * 3 + 4 * 4),
        witness=ON_META,
    )

    @model_validator(mode="after")
    def _smaller(self) -> Self:
        if self.proj_size >= self.hidden_size:
            raise ValueError(f"proj_size = {self.proj_size} is not below hidden_size = {self.hidden_size}")
        return self

    @property
    def output_size(self) -> int:
        return self.proj_size or self.hidden_size

    @property
    def projected(self) -> int:
        return self.proj_size

    def results(self, *xs: Shape) -> Mapping[str, Shape]:
        return {**super().results(*xs), "cell": self._rows_of(self.hidden_size)}

    def equations(self) -> Sequence[str]:
        read = "W_hr (o_t * tanh(c_t))" if self.proj_size else "o_t * tanh(c_t)"
        return [
            "i_t, f_t and o_t = sigmoid(W x_t + U z_(t-1) + b), each with rows of its own; g_t = tanh of such sums",
            f"c_t = f_t * c_(t-1) + i_t * g_t, and z_t = {read}",
        ]

    def _weights(self, direction: _Direction) -> Mapping[str, tuple[int, ...]]:
        brought = {f"weight_hr{direction.suffix}": (self.proj_size, self.hidden_size)} if self.proj_size else {}
        return {**super()._weights(direction), **brought}

    def _saved_per_direction(self, steps: int) -> int:
        return steps * (7 * self.hidden_size + self.proj_size)

    def module(self, *xs: Shape) -> Module:
        from ..modules import recurrent

        return recurrent.LSTM(xs[0][-1], self.hidden_size, **self._arguments())
