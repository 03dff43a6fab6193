"""Checks of `train.augment` and `train.test_time` against the data, and the shapes that they leave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from ...augment import Augmentation, Mixing, Moving
from ...augment.base import UNDONE
from ...augment.one_of import OneOf, flattened
from ...data import Facts
from ...errors import Problem, ShapeError
from ...objectives import Supervised, default_objective
from ...shapes import Shape, by_x

if TYPE_CHECKING:
    from ...augment.tokens import OfTokens
    from .experiment import Experiment
    from .train import Train


def facts_after(experiment: Experiment, train: Train, facts: Facts) -> tuple[Facts, list[Problem]]:
    """Return the facts of the data after augmentation, and problems; facts before the first step with a problem."""
    before, found = facts, list[Problem]()
    for index, step in enumerate(train.augment):
        problems = list(_conflicts(step, train.augment[:index], facts, experiment))
        if problems:
            node, path = experiment.root.at("train", "augment", index), f"train.augment.{index}.{step.kind}"
            mark = node.mark if node is not None else experiment.place("train", "augment")
            found += [replace(problem, mark=mark, path=path) for problem in problems]
            return before, found
        facts = _after(step, facts)
    larger = any(new > old for new, old in zip(facts.input, before.input, strict=True))
    if larger:
        message = f"`augment` makes {facts.input} of {before.input}, and evaluation has no middle of that size"
        hint = "Let the crops be no larger than the examples."
        found.append(Problem(message, hint, experiment.place("train", "augment"), "train.augment"))
        return before, found
    if train.test_time is not None:
        found += _view_conflicts(experiment, before, facts)
    return facts, found


def shape_after(steps: list[Augmentation], x: Shape) -> Shape:
    """Return the shape of examples of shape `x` after all steps. ShapeError where a step does not fit."""
    for step in steps:
        x = step.output_shape(x)
    return x


def _after(step: Augmentation, facts: Facts) -> Facts:
    """Return the facts after a step that fits."""
    new = step.output_shape(facts.input)
    target = facts.target
    if target is not None and _is_map(facts) and any(isinstance(one, Moving) for one in flattened([step])):
        target = Shape((*target[: target.rank - len(new.size)], *new.size), target.dtype)
    return replace(facts, input=new, target=target)


def _conflicts(
    step: Augmentation, before: list[Augmentation], facts: Facts, experiment: Experiment
) -> Iterator[Problem]:
    """Yield problems of one augmentation after those before it; the caller adds mark and path."""
    try:
        step.output_shape(facts.input)
    except ShapeError as error:
        yield error.problem_for([str(x) for x in error.inputs])
        return
    if step.of_texts:
        yield from _text_conflicts(cast("OfTokens", step), facts, experiment)
    if isinstance(step, OneOf):
        for one in step.of:
            yield from _conflicts(one, before, facts, experiment)
        return
    learns = experiment.objective is None or isinstance(experiment.objective, Supervised)
    if learns and isinstance(step, Moving) and not _is_map(facts):
        yield from _target_conflicts(step, facts)
    if isinstance(step, Mixing):
        yield from _mixing_conflicts(step, before, facts, _objective(experiment, facts))
    if step.colours:
        yield from _preprocessing_conflicts(step, before, experiment)


def _text_conflicts(step: OfTokens, facts: Facts, experiment: Experiment) -> Iterator[Problem]:
    """Yield why a change of tokens does not fit to the data: it changes the windows of a text, each by itself."""
    from ...text.tokenizer import UNKNOWN

    kind = experiment.data.kind if experiment.data is not None else ""
    if kind != "text":
        yield Problem(f"{step.kind} changes the tokens of `data: text`, and the data is `{kind}`", "Leave it out.")
        return
    if getattr(experiment.data, "carry", False):
        message = f"{step.kind} changes each window by itself, and `carry: true` goes on from one to the next"
        yield Problem(message, "Leave one out.")
    if message := step.misfit(facts.class_names, UNKNOWN):
        hint = "Take words that it has." if step.kind == "synonyms" else "Give it one: `data.text.unknown: token`."
        yield Problem(message, hint)


def _objective(experiment: Experiment, facts: Facts) -> Supervised:
    """Return the objective where it is supervised, else the one that the data implies."""
    found = experiment.objective
    return found if isinstance(found, Supervised) else default_objective(facts)


def _is_map(facts: Facts) -> bool:
    """Whether targets have a class or a value at each position of the input."""
    if facts.target is None:
        return False
    places = tuple(facts.target) if facts.classes is not None else facts.target.size
    return bool(places) and places == facts.input.size


def _target_conflicts(step: Moving, facts: Facts) -> Iterator[Problem]:
    target = facts.target
    if target is None or step.keep_targets:
        return
    has = f"targets of shape {target}" if facts.classes is None else f"classes at {by_x(target)} positions"
    yield Problem(
        f"{step.kind} moves positions of {facts.input}, and the data has {has}, which it cannot move along",
        f"Where they do not depend on it: `{step.kind}: {{keep_targets: true}}`. Otherwise leave it out.",
    )


def _mixing_conflicts(
    step: Mixing, before: list[Augmentation], facts: Facts, objective: Supervised
) -> Iterator[Problem]:
    if further := [name for name, one in facts.more.items() if one.role != "id"]:
        others = ", ".join(f"`{name}`" for name in further)
        yield Problem(
            f"{step.kind} mixes one input and one class, and the data has the fields {others} too", "Leave it out."
        )
        return
    first = next((one for one in before if isinstance(one, Mixing)), None)
    if first is not None:
        yield Problem(f"{step.kind} mixes what {first.kind} has mixed", "Keep one of the two.")
    if facts.classes is None or facts.target is not None or objective.measures != "classes":
        has = "a class at each position" if facts.classes is not None else f"targets of shape {facts.target}"
        yield Problem(
            f"{step.kind} mixes two classes, one of each example, and {objective.kind} has {has}", "Leave it out."
        )


def _preprocessing_conflicts(
    step: Augmentation, before: list[Augmentation], experiment: Experiment
) -> Iterator[Problem]:
    steps = getattr(experiment.data, "preprocess", [])
    per_value = [one for one in steps if getattr(one, "per", "") == "feature"]
    if getattr(experiment.data, "standardize", "") == "feature":
        per_value.append("standardize")
    for one in steps:
        if one.kind not in UNDONE:
            yield Problem(
                f"{step.kind} changes brightness from 0 to 1, and `preprocess` has {one.kind}, which is not undone",
                f"Leave it out, or preprocess with {', '.join(UNDONE)}.",
            )
            return
    moved = next((one for one in flattened(before) if isinstance(one, Moving)), None)
    if per_value and moved is not None:
        yield Problem(
            f"{step.kind} comes after {moved.kind}, and preprocessing by value (`feature`) cannot be undone there",
            f"Put {step.kind} first, or preprocess by `channel`.",
        )


def _view_conflicts(experiment: Experiment, before: Facts, after: Facts) -> Iterator[Problem]:
    assert experiment.train is not None
    view = experiment.train.test_time
    assert view is not None
    place, path = experiment.place("train", "test_time"), f"train.test_time.{view.kind}"
    objective = _objective(experiment, before)
    try:
        view.check(before.input, after.input.size)
    except ShapeError as error:
        yield replace(error.problem_for([str(x) for x in error.inputs]), mark=place, path=path)
    if before.target is not None and (before.classes is not None or before.target.rank > 1):
        message = f"{view.kind} averages predictions of several views, and {objective.kind} has them at positions"
        yield Problem(message, "Leave it out.", place, path)
    elif not objective.loss.averageable:
        message = f"{view.kind} averages predictions, and the outputs of {objective.loss.kind} have no mean"
        yield Problem(message, "Leave it out.", place, path)


__all__ = ["facts_after", "shape_after"]
