"""The section `baselines` of a spec: estimators of scikit-learn that `dlx baseline` fits to its data.

baselines: [dummy, {knn: 3}, {svm: {C: 0.1, preprocess: [standardize]}}]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import Mark, Problem, SpecError
from . import hydra_grammar
from .overrides import ChangeOf, content_of, mark_of, parse
from .syntax.read import Node
from .validation import choose, shown

if TYPE_CHECKING:
    from ..baselines import Baseline
    from .sections.experiment import Experiment

SECTION = "baselines"


def parse_baselines(node: Node, problems: list[Problem]) -> tuple[Baseline, ...]:
    """Return the baselines of a section; mistakes go to `problems`."""
    from ..baselines import BASELINES

    if not node.is_list:
        hint = "Write `baselines: [knn, {svm: {C: 0.1}}]`."
        problems.append(Problem(f"`baselines` must be a list, not {shown(node.plain())}", hint, node.mark, SECTION))
        return ()
    made = [choose(BASELINES, item, f"{SECTION}.{i}", problems) for i, item in enumerate(node.list)]
    return tuple(one for one in made if one is not None)


def with_baselines(experiment: Experiment, kinds: Sequence[str]) -> Experiment:
    """Return a spec with these baselines in place of its own.

    A text is `knn`, or `knn={n_neighbors: 3}` in Hydra's grammar, or with several values `knn=1,3,5`: one for each.
    SpecError where a text is not in the grammar.
    """
    nodes: list[Node] = []
    for text in kinds:
        mark = _typed(text)
        nodes += [content_of(SECTION, entry, experiment.path, mark) for entry in _entries(text)]
    root = experiment.root.copy()
    assert isinstance(root.value, dict)
    root.value[SECTION] = Node(nodes, nodes[0].mark)
    return experiment.with_root(root)


def with_baseline(experiment: Experiment, place: int) -> Experiment:
    """Return a spec with one of its baselines alone."""
    root = experiment.root.copy()
    assert isinstance(root.value, dict)
    listed = root.value[SECTION]
    root.value[SECTION] = Node([listed.list[place]], listed.mark)
    return experiment.with_root(root)


def _typed(text: str) -> Mark:
    return mark_of(ChangeOf(text, f"option `--kind {text}`"))


def _entries(text: str) -> list[Any]:
    """Return the entries that a text of `--kind` stands for."""
    name, _, rest = text.partition("=")
    if not rest:
        return [name]
    from hydra.core.override_parser.types import ChoiceSweep, Glob, Sweep

    mark = _typed(text)
    value = parse(text, mark).value()
    if isinstance(value, ChoiceSweep):
        return [{name: hydra_grammar.plain(one)} for one in value.list]
    if isinstance(value, Sweep | Glob):
        hint = "Write each value: `--kind knn=1,3,5`."
        raise SpecError(Problem(f"`{rest}` is no list of values", hint, mark, SECTION))
    return [{name: hydra_grammar.plain(value)}]
