"""The template of each class in a linear classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from ...errors import DlxError, Problem
from ...lazy import np, torch
from ...spec.analyses import Analysis
from ..features import chosen_examples, has_classes, rows_of
from ..measures.over_seeds import over_seeds
from ..measures.piecewise import LINEAR
from ..result import Bars, Panel, Pictures, Result

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import fx

    from ..subject import Subject

    Array = npt.NDArray[Any]


class Templates(Analysis):
    """The rows of the weights of a linear classifier, W x + b, each in the form of an input: one template a class.

    Several linear layers in a row are the one that they amount to, (W2 W1) x: the templates are the derivatives of
    the outputs by the input, of which the network is the linear function. `own_class` is the share of templates that,
    taken as an input, have the largest output of their own class, biases left out; `correlation` is the mean
    correlation of a template with the mean example of its class less the mean of all, where the data has classes.
    Books: a template of a trained classifier shows a blend of the examples of its class (figure 2.2.2); that of an
    untrained one is noise.
    """

    kind: ClassVar[str] = "templates"
    source: ClassVar[str] = "CS231n notes, section 2.2.2"
    example: ClassVar[str] = "dlx analyze templates cs231n/linear-cifar10"
    figures: ClassVar[tuple[str, ...]] = ("own_class", "correlation")

    examples: PositiveInt = Field(2000, description="training examples for the means of classes, at most")
    seeds: PositiveInt = Field(1, description="draws of the weights of a spec")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return the first layer that is not linear."""
        if not subject.graphs.is_one:
            return []
        other = [node for node in subject.graph.nodes if node.kind not in LINEAR]
        if other:
            message = f"`templates` are of linear classifiers, and `{other[0].name}` ({other[0].kind}) is not linear"
            return [Problem(message, "Take a network of `flatten` and `linear`.", other[0].mark)]
        return []

    def run(self, subject: Subject) -> Result:
        """Take the derivatives, and compare them with the means of classes."""
        shape = tuple(next(iter(subject.graph.inputs.values())))
        each = [_templates(network, shape, subject) for network in subject.several(self.seeds)]
        figures = {"own_class": float(np.mean([_own(one) for one in each]))}
        names: tuple[str, ...] = tuple(str(i) for i in range(len(each[0])))
        panels: list[Panel] = []
        rows: list[list[Any]] = [[name, float(np.linalg.norm(w))] for name, w in zip(names, each[0], strict=True)]
        titles: tuple[str, ...] = ("class", "length")
        if subject.has_data and has_classes(subject) and subject.facts.classes == len(each[0]):
            names = subject.class_names()
            table = np.array([self._correlations(one, subject) for one in each])
            mean, low, high = over_seeds(table)
            if np.isfinite(mean).any():
                figures["correlation"] = float(np.nanmean(mean))
            panels.append(
                Panel(
                    "correlation with the mean of the class",
                    "class",
                    "correlation",
                    (Bars("templates", names, mean, low, high),),
                )
            )
            rows = [
                [name, float(np.linalg.norm(w)), float(r)] for name, w, r in zip(names, each[0], mean, strict=True)
            ]
            titles = (*titles, "correlation")
        if len(shape) == 3 and shape[0] in (1, 3):
            panels.insert(0, Panel("templates", "", "", (Pictures(_pictures(each[0], shape, names), 5),)))
        return Result(figures, tuple(panels), (titles, rows), seeds=len(each))

    def _correlations(self, templates: Array, subject: Subject) -> Array:
        """Return the correlation of each template with the mean of its class less that of all; NaN without any."""
        chosen = chosen_examples(subject, self.examples, "train")
        x = rows_of(chosen.batch.inputs[0]).astype(np.float64)
        found = np.full(len(templates), np.nan)
        for c, template in enumerate(templates):
            mine = x[chosen.classes == c]
            if len(mine) and template.std() > 0:
                found[c] = np.corrcoef(template, mine.mean(0) - x.mean(0))[0, 1]
        return found


def _templates(network: fx.GraphModule, shape: tuple[int, ...], subject: Subject) -> Array:
    """Return the derivatives of the outputs by the input (outputs, values). DlxError where they are not constant."""
    rng = torch.Generator().manual_seed(0)
    zero = torch.zeros((1, *shape), device=subject.device)
    found = torch.func.jacrev(lambda x: network(x).reshape(-1))(zero).reshape(-1, zero.numel())
    probe = torch.randn((4, *shape), generator=rng).to(subject.device)
    with torch.inference_mode():
        apart = network(probe).reshape(4, -1) - network(zero).reshape(1, -1)
        expected = probe.reshape(4, -1) @ found.T
        scale = float(expected.abs().max()) or 1.0
        if not torch.allclose(apart, expected, atol=1e-3 * scale, rtol=1e-3):
            raise DlxError(f"{subject.name} is not linear in its input, and has no templates")
    return rows_of(found).astype(np.float64)


def _own(templates: Array) -> float:
    """Return the share of templates whose largest answer, without biases, is that of their own class."""
    return float(((templates @ templates.T).argmax(1) == np.arange(len(templates))).mean())


def _pictures(templates: Array, shape: tuple[int, ...], names: tuple[str, ...]) -> list[tuple[str, Array]]:
    """Return each template as a picture, from its least to its largest value."""
    found = []
    for name, one in zip(names, templates, strict=True):
        low, high = one.min(), one.max()
        found.append((name, np.moveaxis(((one - low) / ((high - low) or 1.0)).reshape(shape), 0, -1)))
    return found
