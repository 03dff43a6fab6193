"""Hidden states of a recurrent network along a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from ...data.text.text import Text
from ...errors import Problem
from ...lazy import np
from ...spec.analyses import Analysis, Words
from ..layers import unknown_names
from ..result import Bars, Heat, Lines, Panel, Result

if TYPE_CHECKING:
    from ..subject import Subject


class HiddenStates(Analysis):
    """Activations of the units of a recurrent layer at each token of a text, beside features of the text.

    The activation is tanh(cell) of an LSTM, else the state. `correlation_FEATURE` is the largest absolute
    correlation, over the first `tokens`, of any unit with a feature (quotes, brackets, line_position,
    word_begin, space, ...), and `shuffled_FEATURE` that with the tokens in another order, which many units
    and few tokens make larger than 0.
    Books: single units of a trained character model follow quotes, the place in a line, or brackets; most follow
    nothing that has a name (Karpathy et al. 2016, figure 2). `dlx activations` has the text coloured by one unit.
    """

    kind: ClassVar[str] = "hidden_states"
    source: ClassVar[str] = "Karpathy, Johnson & Fei-Fei 2016, arXiv:1506.02078, section 4.2 and figure 2"
    example: ClassVar[str] = "dlx analyze hidden_states RUN --set units=[3,17]"
    figures: ClassVar[tuple[str, ...]] = ("correlation_FEATURE", "shuffled_FEATURE")
    trained: ClassVar[bool] = True

    units: list[NonNegativeInt] = Field(
        [], description="numbers of units; empty: the one of each feature that follows it"
    )
    layer: str = Field("", description="recurrent layer; empty: the last one")
    tokens: PositiveInt = Field(5000, ge=20, description="tokens that are gone through, at most")
    shown: PositiveInt = Field(80, description="tokens of the picture, the first ones")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return what is missing: a recurrent layer over a text that is cut into windows; the layer of that name."""
        from ...training.carrying import RECURRENT

        found = unknown_names(subject.graph, [self.layer])
        if not any(node.kind in RECURRENT for node in subject.graph.nodes):
            message = f"`hidden_states` are of a recurrent layer, and {subject.name} has none"
            found.append(Problem(message, "Take a network with an `rnn`, `lstm` or `gru`."))
        elif not isinstance(subject.experiment.data, Text):
            message = "`hidden_states` go along a text, and the data is none"
            found.append(Problem(message, "Take a run of `data: text`.", subject.mark("data")))
        return found

    def words(self, subject: Subject) -> Words:
        from ...trained.text_features import NAMES

        return {"FEATURE": NAMES}

    def run(self, subject: Subject) -> Result:
        """Go along the text, and compare each unit with each feature."""
        from ...trained.activations import activations
        from ...trained.text_features import correlations, features

        run = subject.runs[0]
        name = None if subject.checkpoint == "final" else subject.checkpoint
        made = activations(run, self.units, self.layer or None, n=self.tokens, name=name)
        known, order = features(made.pieces), np.random.default_rng(0).permutation(len(made.pieces))
        figures: dict[str, float] = {}
        for feature, values in known.items():
            figures[f"correlation_{feature}"] = float(np.abs(correlations(made.values, values)).max())
            figures[f"shuffled_{feature}"] = float(np.abs(correlations(made.values, values[order])).max())
        chosen = list(dict.fromkeys(unit.number for unit in made.units))
        count = min(self.shown, len(made.pieces))
        at = np.arange(1, count + 1)
        text = "".join(piece if piece.isprintable() else "·" for piece in made.pieces[:count])
        heat = Heat(at, np.arange(1, made.values.shape[1] + 1), made.values[:count].T, label=made.what)
        follows: dict[int, list[str]] = {}
        for unit in made.units if not self.units else ():
            follows.setdefault(unit.number, []).append(unit.feature or "")
        label = {unit: f"unit {unit} ({', '.join(words)})" for unit, words in follows.items()}
        lines = tuple(Lines(label.get(unit, f"unit {unit}"), at, made.values[:count, unit]) for unit in chosen[:4])
        bars = [
            Bars(words, list(known), [figures[f"{words}_{f}"] for f in known])
            for words in ("correlation", "shuffled")
        ]
        panels = (
            Panel(f"{made.layer}: all units", "token", "unit", (heat,)),
            Panel(text if len(text) <= 90 else f"{text[:89]}…", "token", made.what, lines),
            *((Panel("the closest unit to each feature", "", "absolute correlation", tuple(bars)),) if known else ()),
        )
        rows = [[unit.number, unit.feature or "", unit.correlation] for unit in made.units]
        return Result(figures, panels, (("unit", "feature", "correlation"), rows), made.notes)
