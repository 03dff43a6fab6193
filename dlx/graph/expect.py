"""Claims checked against the graph and, after training, against the metrics: each gives a receipt with a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite, log10
from typing import Any, Literal

from ..errors import Problem, did_you_mean, listed
from ..spec import Experiment
from ..spec.expressions import ExpressionError, evaluate
from ..spec.sections.expect import EXACT, IN_WORDS, KEYS, Claim, claims_of
from .claimed_values import no_figure, unfit_numbers, unfit_samples
from .graph import Graph
from .graphs import Graphs
from .measures import GraphPart, LayerCounts, Unmeasured, measure, part, variables
from .settings import Settings, settings_of

Verdict = Literal["holds", "book wrong", "FAILS", "not run"]
# The largest exponent of a float64: float() of a longer integer raises OverflowError
MAX_BITS = 1023
"""Longest integer that is written out in full or converted to a float, in bits."""


@dataclass(frozen=True)
class Receipt:
    """A claim with its verdict.

    `ours` is the figure that dlx has, None where there is none; `why` is the reason of a failure.
    """

    claim: Claim
    verdict: Verdict
    ours: Any = None
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        figures = self.claim.figures
        known: dict[str, Any] = {key: figures[key] for key in KEYS if key in figures and key != "because"}
        more = {"because": figures["because"]} if "because" in figures else {}
        return {
            "claim": self.claim.title,
            "source": self.claim.source,
            **known,
            "ours": _as_json(self.ours),
            "verdict": self.verdict,
            **more,
            **({"why": self.why} if self.why else {}),
        }


def _as_json(value: Any) -> Any:
    """Return a figure as JSON can represent it: as text where it is not finite, or too long to be written out."""
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return {name: _as_json(inner) for name, inner in value.items()}
    huge = isinstance(value, int) and value.bit_length() > MAX_BITS
    return format_value(value) if huge or (isinstance(value, float) and not isfinite(value)) else value


def misread(experiment: Experiment) -> list[Problem]:
    """Return the mistakes in claims that nothing could check."""
    found, problems = claims_of(experiment.root, variables=experiment.vars)
    for claim in found if experiment.networks else ():
        if claim.quantity in EXACT:
            problems.append(Problem(FOR_ONE.format(claim.quantity), ALONE, claim.mark, claim.path))
    return problems


FOR_ONE = "`{}` claims exact values, which are worked out for a spec with one `network`"
ALONE = "Claim them in a spec in which that network is the only one."


def claims(experiment: Experiment, section: str = "expect") -> list[Claim]:
    """Return the claims in a section of a spec, `expect` or `recorded`."""
    return [
        one for one in claims_of(experiment.root, experiment.source, experiment.vars)[0] if one.section == section
    ]


def receipts(experiment: Experiment, graph: Graph | Graphs, section: str = "expect") -> list[Receipt]:
    """Return the receipts of all claims of a section but those on exact values, which need torch.

    Claims on the results of a training, and on analyses, have the verdict "not run".
    """
    return [
        _receipt(claim, experiment, graph) for claim in claims(experiment, section) if claim.quantity not in EXACT
    ]


def _receipt(claim: Claim, experiment: Experiment, graph: Graph | Graphs) -> Receipt:
    if claim.trained or claim.analysis is not None:
        return Receipt(claim, "not run")
    try:
        if claim.quantity in IN_WORDS:
            known = variables(graph, experiment.vars, settings_of(experiment))
            return judge(claim, _figure(evaluate(str(claim.figures["of"]), known)))
        return judge(claim, measure(graph, claim.quantity, claim.of))
    except Unmeasured as error:
        return Receipt(claim, "FAILS", None, str(error))
    except ExpressionError as error:
        return Receipt(claim, "FAILS", None, f"{error}. {error.hint}" if error.hint else str(error))


def _figure(value: Any) -> Any:
    """Return the value of an expression. ExpressionError where it is a node or section and not a figure of it."""
    if isinstance(value, LayerCounts):
        raise ExpressionError("`count` is no figure", "Name a kind of layers: `${count.conv}`.")
    if isinstance(value, Settings):
        raise ExpressionError(f"`{value.called}` is no figure", f"Name a field of it: `${{{value.called}...}}`.")
    if isinstance(value, GraphPart):
        hint = f"Ask for a quantity: `${{{value.called.replace('/', '.')}.params}}`."
        raise ExpressionError(f"`{value.called}` is no figure", hint)
    return [_figure(item) for item in value] if isinstance(value, list) else value


def judge(claim: Claim, ours: Any) -> Receipt:
    """Compare a claim with dlx's own figure, and return its receipt."""
    f = claim.figures
    tolerance = f.get("within", 1e-6 if claim.quantity in EXACT else 0.0) if "about" not in f else 0.0
    # `shape: {fc: 10}` claims a vector: a shape is always a list
    exact = [f["is"]] if claim.quantity in {"shape", "arriving"} and isinstance(f.get("is"), int) else f.get("is")
    agrees = (
        ("is" not in f or same(exact, ours, tolerance))
        and ("about" not in f or near(f["about"], ours, f["within"]))
        and ("at_least" not in f or at_least(ours, f["at_least"]))
        and ("at_most" not in f or at_least(f["at_most"], ours))
    )
    if not agrees:
        return Receipt(claim, "FAILS", ours, f"it is {format_value(ours)}")
    return Receipt(claim, "book wrong" if "book" in f else "holds", ours)


def same(claimed: Any, ours: Any, within: float = 0.0) -> bool:
    """Whether two figures agree; a single value stands for a list of equal items."""
    if isinstance(claimed, list) or isinstance(ours, list):
        a, b = _listed(claimed, ours), _listed(ours, claimed)
        return len(a) == len(b) > 0 and all(same(x, y, within) for x, y in zip(a, b, strict=True))
    if isinstance(claimed, dict) and isinstance(ours, dict):
        return claimed.keys() == ours.keys() and all(same(claimed[k], ours[k], within) for k in claimed)
    # bool is a subclass of int: `is: true` must not agree with 1
    if isinstance(claimed, bool) or isinstance(ours, bool) or not _numbers(claimed, ours):
        return bool(claimed == ours) and type(claimed) is type(ours)
    if within:
        return near(claimed, ours, within)
    # Decimal fractions of a spec and a computed float may differ in the last bits; whole numbers must be equal
    return bool(claimed == ours) or (isinstance(claimed, float) and near(claimed, ours, 1e-9 * abs(claimed)))


def _listed(value: Any, other: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] * len(other)


def _numbers(*values: Any) -> bool:
    return all(isinstance(v, int | float) for v in values)


def near(about: float, ours: Any, within: float) -> bool:
    """Whether two numbers differ by at most `within`, in decimal: 2.9 is within 0.1 of 3.

    In binary floating point 3 - 2.9 is more than 0.1, so fractions of the decimal text are compared.
    """
    if not _numbers(ours) or (isinstance(ours, float) and not isfinite(ours)):
        return False
    a, b, tolerance = (Fraction(str(x)) if isinstance(x, float) else Fraction(x) for x in (about, ours, within))
    return abs(a - b) <= tolerance


def at_least(more: Any, less: Any) -> bool:
    return _numbers(more, less) and bool(more >= less)


def of_results(experiment: Experiment, metrics: Mapping[str, float], section: str = "expect") -> list[Receipt]:
    """Return the receipts of the claims on a training, compared with its metrics; a metric that is missing fails."""
    found = []
    for claim in (c for c in claims(experiment, section) if c.trained):
        value = metrics.get(claim.quantity)
        missing = Receipt(claim, "FAILS", None, "there is no such metric")
        # to six figures, as `format_value` prints the figure that a claim is compared with
        found.append(missing if value is None else judge(claim, float(f"{value:.6g}")))
    return found


def unmet(experiment: Experiment, graph: Graph | Graphs) -> list[Problem]:
    """Return the problems of claims that the graph does not meet, and of exact ones about what it does not have."""
    exact = [claim for claim in claims(experiment) if claim.quantity in EXACT]
    missing = [(one, _unnamed(one, graph) or _unfit(one, graph)) for one in exact]
    return problems_of(
        [*receipts(experiment, graph), *(Receipt(one, "FAILS", None, why) for one, why in missing if why)]
    )


def _unnamed(claim: Claim, graph: Graph | Graphs) -> str:
    """Return why what an exact claim is of, or by, is nothing of the network; empty where it is something."""
    one = graph if isinstance(graph, Graph) else graph.one
    for key in ("of", "by"):
        name, is_weight = str(claim.figures.get(key) or ""), claim.quantity == "weights_after"
        if not name or _is_weight(one, name) or (key == "by" and name in one.inputs):
            continue
        try:
            if is_weight:
                weights = [f"{node.name}/{weight}" for node in one.nodes for weight in node.plan.weights]
                return f"there is no weight `{name}`. {did_you_mean(name, weights)}".rstrip()
            part(one, name)
        except Unmeasured as error:
            return str(error)
    return ""


def _unfit(claim: Claim, graph: Graph | Graphs) -> str:
    """Return why the samples of an exact claim fit no input, or its figure is none; empty where they may."""
    inputs, target = (graph if isinstance(graph, Graph) else graph.one).inputs, claim.figures.get("target", 0)
    heads = target.values() if isinstance(target, dict) else [target]
    found = (
        unfit_samples(claim.figures["at"], inputs),
        *(unfit_numbers("target", one) for one in heads if not isinstance(one, dict)),
        no_figure(claim.quantity, claim.figures["is"]),
    )
    return next(filter(None, found), "")


def _is_weight(graph: Graph, name: str) -> bool:
    """Whether a name is that of a weight: of a node, also of a module inside it, or of the objective."""
    scopes = name.split("/")
    nodes = ("/".join(scopes[:count]) for count in range(len(scopes) - 1, 0, -1))
    node = next((graph.by_name[one] for one in nodes if one in graph.by_name), None)
    if node is None:
        return name.startswith("objective/") and name.partition("/")[2] in graph.of_objective
    return name.removeprefix(f"{node.name}/").replace("/", ".") in {
        one.replace("/", ".") for one in node.plan.weights
    }


def unmet_by(experiment: Experiment, metrics: Mapping[str, float]) -> list[Problem]:
    """Return the problems of claims that the results of a training do not meet."""
    return problems_of(of_results(experiment, metrics))


def of_other_spec(problems: Sequence[Problem]) -> list[Problem]:
    """Return one problem for all claims that a changed spec does not meet: they are about the spec as written."""
    if not problems:
        return []
    names = [one.path.partition(".")[2] for one in problems]
    claims_do = ("claim is", "does") if len(names) == 1 else ("claims are", "do")
    message = "{} {} of the spec as written, and {} not hold with these changes: ".format(len(names), *claims_do)
    return [Problem(f"{message}{listed(names, quote='')}", DROPPED, problems[0].mark, "expect")]


DROPPED = "`dlx verify` judges them with the changes, `~expect` drops them."


def problems_of(found: Sequence[Receipt]) -> list[Problem]:
    """Return the receipts that fail as problems, at the place of each claim."""
    return [
        Problem(f"claims {r.claim.title} {format_claim(r.claim)}, and {r.why}", "", r.claim.mark, r.claim.path)
        for r in found
        if r.verdict == "FAILS"
    ]


def format_claim(claim: Claim) -> str:
    """Format a claim: `1,491`, `about 0.17, within 0.05`, `at least 1e+107`."""
    f = claim.figures
    parts = [
        format_value(f["is"]) if "is" in f else "",
        f"about {format_value(f['about'])}, within {format_value(f['within'])}" if "about" in f else "",
        f"at least {format_value(f['at_least'])}" if "at_least" in f else "",
        f"at most {format_value(f['at_most'])}" if "at_most" in f else "",
    ]
    return ", ".join(part for part in parts if part)


def format_value(value: Any) -> str:
    """Format a figure: `1,491`, `0.265`, `[4, 6, 6]`, `1.07e+107`."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(format_value(v) for v in value)}]"
    if isinstance(value, dict):
        return ", ".join(f"{k} {format_value(v)}" for k, v in value.items())
    if isinstance(value, int) and abs(value) < 10**15:
        return f"{value:,}"
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return _format_huge(value)
    return f"{value:.6g}" if isinstance(value, float) else f"{float(value):.4g}"


def _format_huge(value: int) -> str:
    """Format an integer that is too large for a float from its first 60 bits: `1.072e+3010`."""
    cut = abs(value).bit_length() - 60
    power, rest = divmod(log10(abs(value) >> cut) + cut * log10(2), 1)
    return f"{'-' if value < 0 else ''}{10**rest:.4g}e+{power:.0f}"
