"""Checks of states that go on from window to window, before a training."""

from __future__ import annotations

from collections.abc import Iterator

from ..data import Dataset, Sets
from ..errors import Problem, plural
from ..graph import Graph, Graphs
from ..spec import Experiment, Train

RECURRENT = ("rnn", "lstm", "gru")


def problems(experiment: Experiment, graphs: Graphs) -> list[Problem]:
    """Return what of a spec does not fit to `carry: true` of its data; nothing for data without it."""
    if experiment.train is None or not _carries(experiment):
        return []
    found = list(_of_train(experiment, experiment.train))
    return found + (list(_of_layers(experiment, graphs.one)) if graphs.is_one else [])


def _carries(experiment: Experiment) -> bool:
    """Whether recurrent layers go on from window to window; data with a feed of its own carries what it likes."""
    data = experiment.data
    return data is not None and getattr(data, "carry", False) and type(data).feed is Dataset.feed


def _of_train(experiment: Experiment, train: Train) -> Iterator[Problem]:
    """Yield the fields of `train` that take windows in another order, or more than once."""
    assert experiment.data is not None
    carry = experiment.place("data", experiment.data.kind, "carry")
    why = f"`carry: true` ({carry}) goes on from each window to the next"
    shuffled = experiment.root.at("train", "shuffle") is not None and train.shuffle
    fields = {
        "shuffle": (shuffled, "`shuffle: true` takes them in a new order"),
        "sampling": (train.sampling is not None, "`sampling` draws them"),
        "bootstrap": (train.bootstrap, "`bootstrap` draws them"),
        "batch_schedule": (train.batch_schedule is not None, "`batch_schedule` changes the number of streams"),
        "batch_size": (train.batch_size == "all", "`batch_size: all` makes a stream of each"),
        "compile": (train.compile, "`compile: true` compiles a call that has no states"),
        "optimizer": (
            train.optimizer.takes != "gradient",
            f"{train.optimizer.kind} looks at the loss of one window more than once",
        ),
    }
    for name, (applies, what) in fields.items():
        if applies:
            mark = experiment.place("train", name)
            yield Problem(f"{what}, and {why}", "Leave one of the two out.", mark, f"train.{name}")


def _of_layers(experiment: Experiment, graph: Graph) -> Iterator[Problem]:
    """Yield what keeps recurrent layers from going on."""
    assert experiment.data is not None
    carry = experiment.place("data", experiment.data.kind, "carry")
    nodes = [node for node in graph.nodes if node.kind in RECURRENT and len(node.inputs) == 1]
    if not nodes:
        message = (
            "`carry: true` goes on with the states of `rnn`, `lstm` and `gru` that are not wired, and the network "
        )
        message += f"has none ({experiment.place('network')})"
        yield Problem(message, "Leave `carry` out.", carry, f"data.{experiment.data.kind}.carry")
    for node in nodes:
        path = f"network.layers.{node.name}"
        if getattr(node.layer, "bidirectional", False):
            message = (
                f"{node.kind} runs from the last token to the first too, and `carry: true` ({carry}) from the first"
            )
            yield Problem(message, "Leave out `bidirectional`, or `carry`.", node.mark, path)
        if node.owner:
            message = f"`{node.owner}` is used twice in a pass, and `carry: true` ({carry}) has one state of it"
            yield Problem(message, "Give each use a layer of its own.", node.mark, path)


def too_short(experiment: Experiment, sets: Sets) -> list[Problem]:
    """Return a problem for each part that has fewer windows than there are streams."""
    train, data = experiment.train, experiment.data
    if train is None or data is None or not _carries(experiment):
        return []
    place, found = experiment.place("train", "batch_size"), list[Problem]()
    for name, part in sets.parts().items():
        streams = train.batch_size
        if isinstance(streams, int) and len(part) < streams:
            message = (
                f"the part `{name}` has {plural(len(part), 'window')}, and `batch_size` makes {streams} streams "
            )
            message += f"of it, each of a window or more ({experiment.place('data', data.kind)})"
            hint = f"Take a `batch_size` of {len(part)} at most, a smaller `window`, or a larger part."
            found.append(Problem(message, hint, place, "train.batch_size"))
    return found
