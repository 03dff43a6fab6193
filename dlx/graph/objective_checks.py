"""Checks of the objective of one network against the data: the outputs that it trains. No torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from ..errors import Problem, did_you_mean, listed
from ..objectives import Supervised, default_objective
from ..objectives.learned import SCOPE
from ..objectives.supervised import Head
from ..spec import Experiment
from .expansion.place import Placer
from .expansion.problems import Problems

if TYPE_CHECKING:
    from ..data import Dataset, Facts
    from ..objectives.heads import Heads


def check_outputs(
    experiment: Experiment, facts: Facts, placer: Placer, outputs: Mapping[str, str], problems: Problems
) -> None:
    """Check the outputs of the one network of a spec against the objective and the data.

    `outputs` maps each output to its node. Mistakes are added to `problems`, warnings to those of `placer`.
    """
    objective = experiment.objective or default_objective(facts)
    if not isinstance(objective, Supervised):
        return
    against = _against_targets(experiment, objective, facts, placer, outputs)
    for problem in against:
        problems.add(problem)
    if against:
        return
    for name, problem in objective.check_aux(outputs).items():
        keys = ("objective", objective.kind, "aux", name)
        problems.add(replace(problem, mark=experiment.place(*keys), path=".".join(keys)))
    for unfit in (_noise_of_values, _unfit_fields, _unfit_metrics):
        for problem in unfit(experiment, objective, facts):
            problems.add(problem)
    for head in objective.heads(list(facts.targets)):
        own = facts.of_target(head.field) if head.field in facts.targets else facts
        if (other := _other_target(experiment, head, own, facts)) is not None:
            problems.add(other)
            continue
        for last in dict.fromkeys(outputs[name] for name in _outputs_of(head, objective, outputs)):
            _check_output(experiment, head.objective, own, placer, last, problems)


def _other_target(experiment: Experiment, head: Head, own: Facts, facts: Facts) -> Problem | None:
    """Return the problem of a head that wants classes and names a target of values beside one of classes."""
    objective, keys = head.objective, (*keys_of_head(experiment, head), "field")
    if objective.measures != "classes" or own.classes is not None or experiment.root.at(*keys) is None:
        return None
    others = [name for name, one in facts.targets.items() if one.classes is not None]
    if not others:
        return None
    have = f"and `{head.field}` holds values; `{others[0]}` holds classes ({experiment.place('data')})"
    hint = f"Write `field: {others[0]}`; values are learned by `regression`."
    return Problem(f"{objective.kind} learns classes, {have}", hint, experiment.place(*keys), ".".join(keys))


def _against_targets(
    experiment: Experiment, objective: Supervised, facts: Facts, placer: Placer, outputs: Mapping[str, str]
) -> list[Problem]:
    """Return what does not fit between the targets of the data and what the objective learns."""
    if facts.labels and objective.measures not in {"labels", "heads"}:
        return [_no_labels(experiment, objective)]
    if not (facts.targets or {*objective.reads(facts.fields, list(outputs))} & facts.fields.keys()):
        return [_no_target(experiment, objective, facts)]
    if objective.kind == "heads":
        scopes = {name.partition("/")[0] for name in placer.by_name}
        return list(_unmatched_heads(experiment, cast("Heads", objective), facts, outputs, scopes))
    return list(_unread_targets(experiment, objective, facts, outputs))


def _no_target(experiment: Experiment, objective: Supervised, facts: Facts) -> Problem:
    """Return the problem of an objective that learns a target, and data without labels."""
    assert experiment.data is not None
    kind, named = experiment.data.kind, experiment.objective is not None
    place = experiment.place("data", kind, "target")
    message = f"{objective.kind} learns a target, and the data has {counted('field', facts.fields)} alone ({place})"
    hint = "Name the column or array that is to be learned, or an objective that reads none, such as `autoencoder`."
    at = ("objective", objective.kind) if named else ("data", kind, "target")
    return Problem(message, hint, experiment.place(*at), ".".join(at) if not named else "objective")


NO_VALUES: Final = {"labels": "0 and 1 of each label", "boxes": "boxes, with whether there is one and its class"}
"""Targets whose numbers are no measurements, by what an objective measures."""


def _unfit_fields(experiment: Experiment, objective: Supervised, facts: Facts) -> Iterator[Problem]:
    """Yield what objectives lack among the fields of the data."""
    for head in objective.heads(list(facts.targets)):
        if (found := head.objective.check_fields(facts.fields)) is not None:
            keys = keys_of_head(experiment, head)
            yield replace(found, mark=experiment.place(*keys), path=".".join(keys))


def _unfit_metrics(experiment: Experiment, objective: Supervised, facts: Facts) -> Iterator[Problem]:
    """Yield the metrics that tell nothing of as many classes as there are."""
    for head in objective.heads(list(facts.targets)):
        classes = facts.of_target(head.field).classes if head.field in facts.targets else facts.classes
        for metric in head.objective.metrics if classes is not None else ():
            if message := metric.check(classes or 0):
                keys = (*keys_of_head(experiment, head), "metrics")
                hint = f"Take a smaller one, such as `{metric.kind}: {max(1, (classes or 0) // 2)}`, or drop it."
                yield Problem(message, hint, experiment.place(*keys), ".".join(keys))


def _noise_of_values(experiment: Experiment, objective: Supervised, facts: Facts) -> Iterator[Problem]:
    """Yield the problem of normal label noise on targets whose numbers are no measurements."""
    data, noise = experiment.data, getattr(experiment.data, "label_noise", None)
    if data is None or noise is None or noise.std is None:
        return
    keys = ("data", data.kind, "label_noise")
    for head in objective.heads(list(facts.targets)):
        kind = head.objective.kind
        if head.objective.measures in NO_VALUES and noise.target in (None, head.field):
            holds = NO_VALUES[head.objective.measures]
            message = f"`label_noise` adds to values by `std`, and {kind} learns {holds} from `{head.field}`"
            hint = "Leave it out: noise of `std` is for targets that `regression` learns."
            yield Problem(message, hint, experiment.place(*keys), ".".join(keys))


def named_objective(experiment: Experiment) -> Problem:
    """Return the problem of a node that has the name of the parameters of the objective."""
    message = f"`{SCOPE}` holds the parameters that the objective learns, and a node is called that"
    return Problem(message, "Give the node another name.", experiment.place("network"), "network.layers")


def keys_of_head(experiment: Experiment, head: Head) -> tuple[str, ...]:
    """Return the keys of the kind of a head in the spec, or of that of its one objective."""
    if not head.name:
        return ("objective", head.objective.kind)
    long = experiment.root.at("objective", "heads") is not None
    return ("objective", *(("heads", "of") if long else ()), head.name, head.objective.kind)


def _outputs_of(head: Head, objective: Supervised, outputs: Mapping[str, str]) -> list[str]:
    """Return the names of the outputs that a head trains."""
    if not head.name:
        return objective.trained_outputs(outputs)
    return list(outputs) if len(outputs) == 1 else [head.name, *head.objective.aux]


def _check_output(
    experiment: Experiment, objective: Supervised, facts: Facts, placer: Placer, last: str, problems: Problems
) -> None:
    """Check the output of the node `last` against an objective and the facts of its target."""
    node, wire = placer.by_name.get(last), placer.top.find(last)
    shape = node.shape if node is not None else wire.shape if wire is not None else None
    found = objective.check(shape, facts) if shape is not None else None
    found = _with_label_hint(found, objective, facts, experiment.data)
    if found is not None:
        mark, path = (
            (node.mark, f"layers.{node.name}") if node is not None else (experiment.place("network"), "outputs")
        )
        problems.add(replace(found, mark=mark, path=f"network.{path}"))
    elif node is not None and (warning := objective.output_warning(node.kind)) is not None:
        placer.warned.add(replace(warning, mark=node.mark, path=f"network.layers.{node.name}"))


def _unmatched_heads(
    experiment: Experiment, objective: Heads, facts: Facts, outputs: Mapping[str, str], placed: Collection[str]
) -> Iterator[Problem]:
    """Yield heads without an output or a target, and outputs and targets without a head; `placed` are the nodes."""
    heads = {head.name: head for head in objective.heads(list(facts.targets))}
    keys = {name: keys_of_head(experiment, head)[:-1] for name, head in heads.items()}
    for name, problem in objective.check_heads(list(outputs)).items():
        yield replace(problem, mark=experiment.place(*keys[name]), path=".".join(keys[name]))
    for name, head in heads.items():
        if head.field not in facts.targets:
            message = f"the head `{name}` learns the target `{head.field}`, and the data has "
            message += f"{counted('target', facts.targets)} ({experiment.place('data')})"
            hint = did_you_mean(head.field, facts.targets) or f"Name one: `{name}: {{KIND: {{field: TARGET}}}}`."
            yield Problem(message, hint, experiment.place(*keys[name]), ".".join(keys[name]))
    trained, there = objective.trained_outputs(outputs), f"is {counted('head', heads)}"
    if len(heads) > 1:
        there = f"are {counted('head', heads)}"
    there += f" ({experiment.place('objective')})"
    if objective.parameters() and SCOPE in placed:
        yield named_objective(experiment)
    for name in (name for name in outputs if len(outputs) > 1 and name not in trained):
        mark = experiment.place("network", "outputs", name)
        message = f"the output `{name}` has no head: there {there}"
        hint = did_you_mean(name, heads) or "Give it one, or leave it out of `outputs`."
        yield Problem(message, hint, mark, "network.outputs")
    assert experiment.data is not None
    kind, read = experiment.data.kind, {head.field for head in heads.values()}
    for name in (name for name in facts.targets if name not in read):
        mark = experiment.place("data", kind, "targets", name)
        message = f"no head learns the target `{name}`: there {there}"
        hint = (
            f"Give it one: `{name}: KIND`." if name not in heads else f"Leave out the `field` of the head `{name}`."
        )
        yield Problem(message, hint, mark, f"data.{kind}.targets.{name}")


def _no_labels(experiment: Experiment, objective: Supervised) -> Problem:
    """Return the problem of data that says that its targets are labels, where the objective learns something else."""
    assert experiment.data is not None
    keys = ("data", experiment.data.kind, "task")
    place, learned = experiment.place("objective"), objective.measures
    message = f"`task: multilabel` says that targets are labels, and {objective.kind} ({place}) learns {learned}"
    return Problem(
        message, "Write `objective: multilabel`, or another `task`.", experiment.place(*keys), ".".join(keys)
    )


def _unread_targets(
    experiment: Experiment, objective: Supervised, facts: Facts, outputs: Mapping[str, str]
) -> Iterator[Problem]:
    """Yield the targets that the objective names and the data lacks, and those of the data that nothing learns."""
    targets, read = facts.targets, objective.reads(facts.fields, list(outputs))
    place, keys = experiment.place("objective", objective.kind), ("objective", objective.kind)
    for name in (name for name in read if name not in facts.fields):
        message = f"{objective.kind} learns the field `{name}`, and the data has {counted('target', targets)}"
        mark = experiment.place(*keys, "field")
        yield Problem(message, did_you_mean(name, targets), mark, ".".join((*keys, "field")))
    if objective.field is not None or (len(targets) < 2 and read):
        return
    assert experiment.data is not None
    kind = experiment.data.kind
    for name in (name for name in targets if name not in read):
        first = ", ".join(f"`{one}`" for one in read)
        message = f"no output learns the target `{name}`: {objective.kind} learns {first} ({place})"
        hint = (
            f"Say which: `objective: {{{objective.kind}: {{field: {name}}}}}`, or learn each by an output of its own."
        )
        yield Problem(message, hint, experiment.place("data", kind, "targets", name), f"data.{kind}.targets.{name}")


def _with_label_hint(
    found: Problem | None, objective: Supervised, facts: Facts, data: Dataset | None
) -> Problem | None:
    """Extend the hint of a problem where classes are expected and the values of the data may be labels."""
    if found is None or objective.measures != "classes" or facts.classes is not None or facts.target is None:
        return found
    if data is None or "task" not in type(data).model_fields:
        return found
    from ..data.file_reading import ONE_LABEL, SEVERAL_LABELS

    hint = ONE_LABEL if tuple(facts.target) == (1,) else SEVERAL_LABELS
    return replace(found, hint=f"{found.hint} {hint}".strip())


def counted(noun: str, names: Mapping[str, object]) -> str:
    """Format names with their noun: `the fields `input`, `target``."""
    return f"the {noun}{'s' * (len(names) > 1)} {listed(names)}" if names else f"no {noun}"
