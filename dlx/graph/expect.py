"""Claims held against the plan and, after training, against the metrics: each becomes a receipt with a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite, log10
from typing import Any, Literal

from ..errors import Problem
from ..spec import Experiment
from ..spec.expressions import ExpressionError, evaluate
from ..spec.sections.expect import EXACT, KEYS, Claim, claims_of
from .graph import Graph
from .graphs import Graphs
from .measures import Part, Unmeasured, measure, variables

Verdict = Literal["holds", "book wrong", "FAILS", "not run"]
LONGEST = 1023
"""Bits of a number that is written out, or taken for a float."""


@dataclass(frozen=True)
class Receipt:
    """A claim and what came of it. `ours` is None where it could not be had; `why` says why it fails."""

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
    """A figure as JSON can hold it: in words where it is not finite, or too long to be written out."""
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return {name: _as_json(inner) for name, inner in value.items()}
    huge = isinstance(value, int) and value.bit_length() > LONGEST
    return told_value(value) if huge or (isinstance(value, float) and not isfinite(value)) else value


def misread(experiment: Experiment) -> list[Problem]:
    """Claims that no one could check."""
    found, problems = claims_of(experiment.root, variables=experiment.vars)
    for claim in found if experiment.networks else ():
        if claim.quantity in EXACT:
            problems.append(Problem(FOR_ONE.format(claim.quantity), ALONE, claim.mark, claim.path))
    return problems


FOR_ONE = "`{}` claims exact values, which are worked out for a spec with one `network`"
ALONE = "Claim them in a spec in which that network is the only one."


def claims(experiment: Experiment) -> list[Claim]:
    """What a spec claims of itself."""
    return claims_of(experiment.root, experiment.source, experiment.vars)[0]


def receipts(experiment: Experiment, graph: Graph | Graphs) -> list[Receipt]:
    """All claims but those about exact values, which want torch; those about a training are not run."""
    return [_receipt(claim, experiment, graph) for claim in claims(experiment) if claim.quantity not in EXACT]


def _receipt(claim: Claim, experiment: Experiment, graph: Graph | Graphs) -> Receipt:
    if claim.trained:
        return Receipt(claim, "not run")
    try:
        if claim.quantity == "figures":
            return judged(claim, _figure(evaluate(str(claim.figures["of"]), variables(graph, experiment.vars))))
        return judged(claim, measure(graph, claim.quantity, claim.of))
    except Unmeasured as error:
        return Receipt(claim, "FAILS", None, str(error))
    except ExpressionError as error:
        return Receipt(claim, "FAILS", None, f"{error}. {error.hint}" if error.hint else str(error))


def _figure(value: Any) -> Any:
    """What an expression comes to. ExpressionError where that is a node and not a figure of it."""
    if isinstance(value, Part):
        hint = f"Ask for a quantity: `${{{value.called.replace('/', '.')}.params}}`."
        raise ExpressionError(f"`{value.called}` is no figure", hint)
    return [_figure(item) for item in value] if isinstance(value, list) else value


def judged(claim: Claim, ours: Any) -> Receipt:
    """The verdict on a claim, where `ours` is what dlx has."""
    f = claim.figures
    slack = f.get("within", 1e-6 if claim.quantity in EXACT else 0.0) if "about" not in f else 0.0
    exact = [f["is"]] if claim.quantity in {"shape", "arriving"} and isinstance(f.get("is"), int) else f.get("is")
    right = (
        ("is" not in f or same(exact, ours, slack))
        and ("about" not in f or near(f["about"], ours, f["within"]))
        and ("at_least" not in f or at_least(ours, f["at_least"]))
        and ("at_most" not in f or at_least(f["at_most"], ours))
    )
    if not right:
        return Receipt(claim, "FAILS", ours, f"it is {told_value(ours)}")
    return Receipt(claim, "book wrong" if "book" in f else "holds", ours)


def same(claimed: Any, ours: Any, within: float = 0.0) -> bool:
    """Whether two figures agree: numbers, words, or lists of them; a list of equal items is one of them."""
    if isinstance(claimed, list) or isinstance(ours, list):
        a, b = _listed(claimed, ours), _listed(ours, claimed)
        return len(a) == len(b) > 0 and all(same(x, y, within) for x, y in zip(a, b, strict=True))
    if isinstance(claimed, dict) and isinstance(ours, dict):
        return claimed.keys() == ours.keys() and all(same(claimed[k], ours[k], within) for k in claimed)
    if isinstance(claimed, bool) or isinstance(ours, bool) or not _numbers(claimed, ours):
        return bool(claimed == ours) and type(claimed) is type(ours)
    if within:
        return near(claimed, ours, within)
    return bool(claimed == ours) or (isinstance(claimed, float) and near(claimed, ours, 1e-9 * abs(claimed)))


def _listed(value: Any, other: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] * len(other)


def _numbers(*values: Any) -> bool:
    return all(isinstance(v, int | float) for v in values)


def near(about: float, ours: Any, within: float) -> bool:
    """Whether two numbers are at most `within` apart, as they are written: 2.9 is within 0.1 of 3."""
    if not _numbers(ours) or (isinstance(ours, float) and not isfinite(ours)):
        return False
    a, b, slack = (Fraction(str(x)) if isinstance(x, float) else Fraction(x) for x in (about, ours, within))
    return abs(a - b) <= slack


def at_least(more: Any, less: Any) -> bool:
    return _numbers(more, less) and bool(more >= less)


def of_results(experiment: Experiment, metrics: Mapping[str, float]) -> list[Receipt]:
    """The claims about a training, held against its metrics; one about a metric that there is not fails."""
    found = []
    for claim in (c for c in claims(experiment) if c.trained):
        got = metrics.get(claim.quantity)
        missing = Receipt(claim, "FAILS", None, "there is no such metric")
        found.append(missing if got is None else judged(claim, float(f"{got:.6g}")))
    return found


def unmet(experiment: Experiment, graph: Graph | Graphs) -> list[Problem]:
    """Claims that the plan does not meet."""
    return told(receipts(experiment, graph))


def unmet_by(experiment: Experiment, metrics: Mapping[str, float]) -> list[Problem]:
    """Claims about results that a training does not meet."""
    return told(of_results(experiment, metrics))


def told(found: Sequence[Receipt]) -> list[Problem]:
    """The receipts that fail, as sentences at their places."""
    return [
        Problem(f"claims {r.claim.title} {claimed(r.claim)}, and {r.why}", "", r.claim.mark, r.claim.path)
        for r in found
        if r.verdict == "FAILS"
    ]


def claimed(claim: Claim) -> str:
    """`1,491`, `about 0.17, within 0.05`, `at least 1e+107`."""
    f = claim.figures
    parts = [
        told_value(f["is"]) if "is" in f else "",
        f"about {told_value(f['about'])}, within {told_value(f['within'])}" if "about" in f else "",
        f"at least {told_value(f['at_least'])}" if "at_least" in f else "",
        f"at most {told_value(f['at_most'])}" if "at_most" in f else "",
    ]
    return ", ".join(part for part in parts if part)


def told_value(value: Any) -> str:
    """A figure as it is read: `1,491`, `0.265`, `[4, 6, 6]`, `1.07e+107`."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(told_value(v) for v in value)}]"
    if isinstance(value, dict):
        return ", ".join(f"{k} {told_value(v)}" for k, v in value.items())
    if isinstance(value, int) and abs(value) < 10**15:
        return f"{value:,}"
    if isinstance(value, int) and value.bit_length() > LONGEST:
        return _in_powers(value)
    return f"{value:.6g}" if isinstance(value, float) else f"{float(value):.4g}"


def _in_powers(value: int) -> str:
    """`1.072e+3010`: a number that no float holds, from its first bits."""
    cut = abs(value).bit_length() - 60
    power, rest = divmod(log10(abs(value) >> cut) + cut * log10(2), 1)
    return f"{'-' if value < 0 else ''}{10**rest:.4g}e+{power:.0f}"
