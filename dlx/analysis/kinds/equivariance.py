"""Whether layers follow a shift of their input, and whether the output stays what it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from ...errors import DlxError, Problem
from ...graph import LayerNode
from ...lazy import np, torch
from ...shapes import ReceptiveField
from ...spec.analyses import Analysis
from ..features import each_layer
from ..layers import layers_of, unknown_layers
from ..measures.over_seeds import over_seeds
from ..measures.walk import first_output
from ..result import Lines, Panel, Result

if TYPE_CHECKING:
    from torch import Tensor, fx

    from ...data.batch import Batch
    from ..subject import Subject


class Equivariance(Analysis):
    """Equivariance of each layer with positions to shifts of the input, and invariance of the output.

    The input is moved by t positions along its last axis, what leaves it on one side comes in on the other: T_t x.
    Of a layer f with a stride of s positions the error is |f(T_t x) - T_(t/s) f(x)| / |f(x)| over all examples, for
    shifts that s divides (equation 10.2: 0 where it is equivariant); of the output it is |f(T_t x) - f(x)| / |f(x)|
    (equation 10.1: 0 where it is invariant). `equivariance_error` is the largest of any layer and shift,
    `invariance_error` the mean over the shifts, `same_answer` the share of examples whose largest output stays.
    Books: exactly 0 for convolutions with circular padding; zeros at the borders, and strides that do not divide the
    shift, break it; a maximum over all positions is invariant, max pooling only approximately.
    """

    kind: ClassVar[str] = "equivariance"
    source: ClassVar[str] = "Prince 2023, Understanding Deep Learning, equations 10.1 and 10.2, problem 10.1"
    example: ClassVar[str] = "dlx analyze equivariance udl/equivariance"
    figures: ClassVar[tuple[str, ...]] = ("equivariance_error", "invariance_error", "same_answer")

    shifts: list[PositiveInt] = Field([1, 2, 3, 4], min_length=1, description="positions by which the input is moved")
    layers: list[str] = Field([], description="nodes to look at, by name or `conv_*`; all with positions where empty")
    examples: PositiveInt = Field(100, description="inputs that are moved, at most")
    seeds: PositiveInt = Field(3, description="draws of the weights of a spec")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return what the network lacks: positions; layers that it has not."""
        found = unknown_layers(subject.graph, self.layers)
        if not subject.graphs.is_one:
            return found
        shape = next(iter(subject.graph.inputs.values()))
        if len(shape) < 2 or shape.dtype != "float":
            message = (
                f"`equivariance` moves an input along its positions, and that of {subject.name} is of shape {shape}"
            )
            found.append(Problem(message, "Take a network over signals (C, L) or images (C, H, W)."))
        elif (size := tuple(shape)[-1]) <= max(self.shifts):
            found.append(Problem(f"a shift of {max(self.shifts)} goes round an input of {size} positions",
                                 f"Set smaller ones: `shifts: [1, {max(size // 2, 1)}]`."))  # fmt: skip
        return found

    def run(self, subject: Subject) -> Result:
        """Move the inputs by each shift."""
        batch = subject.examples(self.examples)
        nodes = {name: stride for name in layers_of(subject.graph, self.layers)
                 if (stride := _stride(subject.graph.by_name[name])) is not None}  # fmt: skip
        each = [self._errors(network, batch, nodes) for network in subject.several(self.seeds)]
        layers = np.array([one[0] for one in each]).reshape(len(each), len(nodes), len(self.shifts))
        outputs, same = (np.array([one[i] for one in each]) for i in (1, 2))
        figures = {"invariance_error": float(outputs.mean()), "same_answer": float(same.mean())}
        if np.isfinite(layers).any():
            figures = {"equivariance_error": float(np.nanmax(layers)), **figures}
        with np.errstate(invalid="ignore"):
            mean = np.array(layers.mean(0))
        lines = tuple(
            Lines(name, np.array(self.shifts)[np.isfinite(row)], row[np.isfinite(row)])
            for name, row in zip(nodes, mean, strict=True)
            if np.isfinite(row).any()
        )
        title, across = "relative error", "shift of the input (positions)"
        panels = (
            *((Panel("equivariance of layers", across, title, lines),) if lines else ()),
            Panel("invariance of the output", across, title, (Lines("output", self.shifts, *over_seeds(outputs)),)),
        )
        rows = [
            [name, *(None if np.isnan(v) else float(v) for v in row)] for name, row in zip(nodes, mean, strict=True)
        ]
        rows.append(["output (invariance)", *map(float, outputs.mean(0))])
        titles = ("layer", *(f"shift {t}" for t in self.shifts))
        return Result(figures, panels, (titles, rows), self._notes(nodes), len(each))

    def _errors(
        self, network: fx.GraphModule, batch: Batch, nodes: dict[str, int]
    ) -> tuple[Any, list[float], list[float]]:
        """Return the errors of the layers (layers, shifts), those of the output, and the shares of equal answers."""
        plain: dict[str, Tensor] = {}
        output = _main(each_layer(network, batch.inputs, nodes, plain.__setitem__))
        table = np.full((len(nodes), len(self.shifts)), np.nan)
        errors, same = [], []
        for j, shift in enumerate(self.shifts):
            moved: dict[str, Tensor] = {}
            first, *others = batch.inputs
            answer = _main(each_layer(network, (first.roll(shift, -1), *others), nodes, moved.__setitem__))
            for i, (name, stride) in enumerate(nodes.items()):
                if shift % stride == 0:
                    table[i, j] = _relative(moved[name], plain[name].roll(shift // stride, -1))
            errors.append(_relative(answer, output))
            flat = [one.reshape(len(one), -1) for one in (answer, output)]
            same.append(float((flat[0].argmax(1) == flat[1].argmax(1)).float().mean()))
        return table, errors, same

    def _notes(self, nodes: dict[str, int]) -> tuple[str, ...]:
        never = [f"`{name}`" for name, stride in nodes.items() if not any(t % stride == 0 for t in self.shifts)]
        if not never:
            return ()
        return (f"no shift is a multiple of the stride of {', '.join(never)}",)


def _stride(node: LayerNode) -> int | None:
    """Return the stride of a layer along the last axis of the input, where its last axis has those positions."""
    field = node.receptive_field
    if not isinstance(field, ReceptiveField) or field.is_global or len(node.shape) != len(field.stride) + 1:
        return None
    stride = field.stride[-1]
    return int(stride) if stride == int(stride) and stride >= 1 else None


def _relative(value: Tensor, expected: Tensor) -> float:
    """Return |value - expected| / |expected|, 0 where both are 0."""
    size = float(torch.linalg.vector_norm(expected.double()))
    off = float(torch.linalg.vector_norm(value.double() - expected.double()))
    return off / size if size > 0 else float(off > 0)


def _main(output: Any) -> Tensor:
    """Return the first output of a network."""
    found = first_output(output)
    if not isinstance(found, torch.Tensor):
        raise DlxError("the network ends in several results, and this analysis looks at one tensor")
    return found
