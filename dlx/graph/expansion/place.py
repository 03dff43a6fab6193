"""Placing of one layer in the graph: validate its fields, plan it for its input shapes, follow receptive fields."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from ...errors import Mark, Problem, ShapeError, did_you_mean
from ...layers import LAYERS, Layer, Plan
from ...plugins import failure_at, is_foreign
from ...shapes import Shape
from ...spec.expressions import UnknownValue
from ...spec.syntax.read import Node
from ...spec.validation import build, shown
from ..graph import LayerNode, Wire
from ..receptive_field import propagation
from . import data_facts
from .lenders import Lender, Shared, why_not_lent
from .plugin_plans import check_plan
from .problems import Problems
from .scope import Arriving, Names, Scope

MAX_COUNT = 10**18
"""Largest number of values in one output or weight; a larger one is a typing mistake."""
MAX_AXES = 60  # below the 64 axes of torch's TensorIterator, the batch included
TIED_TO = "Tie to a linear layer, or to an embedding."


class Placer:
    """Builds the list of nodes. `entry_names` are all names in the file, to distinguish "later" from "nowhere"."""

    def __init__(
        self, problems: Problems, global_vars: Mapping[str, Any], entry_names: Mapping[str, Mark], path: str
    ) -> None:
        self.problems = problems
        self.path = f"{path}.layers"
        """The key of the layers in the spec: `network.layers`, `networks.NAME.layers`."""
        self.globals = dict(global_vars)
        self.entry_names = entry_names
        self.shares: dict[str, str] = {}
        """The target of `share` for each named entry that has one."""
        self.other_networks: Mapping[str, Mark] = {}
        """The other networks of the spec, and where they are written."""
        self.lenders: Mapping[str, Lender] = {}
        """Those above this one, whose layers it may share."""
        self.not_lending: Mapping[str, tuple[str, str]] = {}
        """Those whose layers no other shares, with the message and hint that say so."""
        self.scopes: Mapping[str, tuple[Node, Scope]] = {}
        """The scopes of the walk by full name: the entry of each, and the scope around it."""
        self.unread_inputs: frozenset[str] = frozenset()
        """Names of inputs of data with a mistake, which is told where it is: what takes them is not told again."""
        self.nodes: list[LayerNode] = []
        self.by_name: dict[str, LayerNode] = {}
        self.marks: dict[str, Mark] = {}
        """The places of inputs and nodes in the file, for messages."""
        self.warned = Problems()
        """Warnings, one for each entry of the file, however often it runs."""
        self.results: dict[str, Wire] = {}
        """Results beside the output of a layer, by the name of their node: `memory.state`."""
        self.channel_axes: propagation.ChannelAxes = {}
        self.incomplete = False
        """A limit ended the walk: what is missing from the graph is no mistake."""
        self.top = Names()
        """The names at the end of the walk, outside every block."""
        self._layers: dict[tuple[object, ...], Layer | None] = {}
        self._plans: dict[tuple[object, ...], Plan] = {}

    def fail(self, message: str, hint: str, mark: Mark, full: str) -> None:
        self.problems.add(Problem(message, hint, mark, f"{self.path}.{full}"))

    # --- layers -----------------------------------------------------------------------------------------------------

    def place(
        self,
        kind: str,
        options: Node,
        mark: Mark,
        full: str,
        arriving: Arriving,
        values: Node | None = None,
        tied: LayerNode | None = None,
        shared: Shared | None = None,
    ) -> Wire:
        """Add a node of `kind` and return its output; a wire without a shape where there is a mistake."""
        broken, wires = Wire(full, None), arriving.wires
        self.marks[full] = mark
        layer = self.layer(kind, options, full, arriving.names, wires[0] if wires else broken)
        if layer is None or any(wire.shape is None for wire in wires) or not wires:
            return broken
        shapes = tuple(wire.shape for wire in wires if wire.shape is not None)
        plan = self.plan(layer, shapes, wires, mark, full, tied)
        if plan is None or not self._knows_all(layer, wires[0], mark, full):
            return broken
        initial_values = self.initial_values(values, plan, full)
        first = (shared.placer or self).counterpart(shared.name, mark) if shared is not None else None
        if shared is not None and not self.can_share(first, plan, wires[0], mark, full, shared.network):
            return broken
        node, wire = self.add(full, kind, layer, wires, plan, mark)
        node.values, node.tied = initial_values, tied.name if tied else ""
        if first is not None and shared is not None:
            node.borrow(first, shared.network)
        return wire

    def layer(self, kind: str, options: Node, full: str, takes: tuple[str, ...], of: Wire) -> Layer | None:
        """Build the declared layer; equal options give one object, and are validated once.

        `takes` are the inputs that it is given by name, `of` is what it takes first. None where the options have a
        mistake.
        """
        options = self._with_facts(kind, options, of)
        key = (kind, repr(options.plain()), takes)
        # Options with a mistake are validated again, so that each place that has them is reported
        if key in self._layers and self._layers[key] is not None:
            return self._layers[key]
        problems: list[Problem] = []
        layer = build(LAYERS[kind], options, f"{self.path}.{full}", problems, shorthand=True)
        for problem in problems:
            self.problems.add(problem)
        by_name = takes != LAYERS[kind].input_names[: len(takes)]
        if layer is not None and by_name and "takes" in type(layer).model_fields:
            layer = layer.model_copy(update={"takes": list(takes)})
        self._layers[key] = layer
        return layer

    def await_facts(self, kind: str, options: Node) -> None:
        """Raise UnknownValue for a layer that waits for a fact of data with a mistake, which is reported there."""
        facts = self.globals.get(data_facts.NAME)
        unread = isinstance(facts, data_facts.DataFacts) and facts.facts is None and facts.is_there
        if unread and not LAYERS[kind].from_data.keys() <= options.map.keys():
            raise UnknownValue

    def _with_facts(self, kind: str, options: Node, of: Wire) -> Node:
        """Return the options of a layer with those that it leaves to the data: the vocabulary of an embedding.

        Of several texts it is that of the input `of`, which the layer takes; any of them behind a mistake, where the
        layer is not planned and its other options are looked at.
        """
        facts = self.globals.get(data_facts.NAME)
        if not options.is_map or not isinstance(facts, data_facts.DataFacts) or facts.facts is None:
            return options
        source = facts.texts.get(of.name) or (facts.facts if len(facts.texts) < 2 else None)
        if source is None and of.shape is None:
            source = next(iter(facts.texts.values()))
        values = {field: getattr(source, fact, None) for field, fact in LAYERS[kind].from_data.items()}
        more = {name: Node(value, options.mark) for name, value in values.items() if value is not None}
        return replace(options, value={**more, **options.map})

    def _knows_all(self, layer: Layer, wire: Wire, mark: Mark, full: str) -> bool:
        """Whether a table of a layer has a row for each number that an input of the data holds; reports it if not."""
        facts = self.globals.get(data_facts.NAME)
        if not wire.is_input or not isinstance(facts, data_facts.DataFacts) or facts.facts is None:
            return True
        text, field = facts.texts.get(wire.name), facts.facts.fields.get(wire.name)
        known = text.vocabulary if text is not None else field.classes if field is not None else None
        for name in type(layer).from_data:
            if known is not None and (rows := getattr(layer, name)) < known:
                what = f"{known:,} tokens" if text is not None else f"numbers from 0 to {known - 1:,}"
                message = f"{layer.kind} has a table of {rows:,} rows, and {self.describe(wire, mark)} holds {what}"
                self.fail(message, f"Write `{name}: {known}`; of a text it can be left out.", mark, full)
                return False
        return True

    def plan(
        self,
        layer: Layer,
        shapes: tuple[Shape, ...],
        wires: Sequence[Wire],
        mark: Mark,
        full: str,
        tied: LayerNode | None,
    ) -> Plan | None:
        """Plan a layer for its input shapes; None where they do not fit, which is reported."""
        if not self._arity_fits(layer, wires, mark, full):
            return None
        # The dtypes too: shapes are tuples, and compare equal without them
        key = (id(layer), shapes, tuple(s.dtype for s in shapes), tied.name if tied else "")
        if key in self._plans:
            return self._plans[key]
        try:
            plan = self._tied_plan(layer, shapes[0], tied, mark, full) if tied else layer.plan(*shapes)
            if is_foreign(type(layer)) and not tied:
                plan = check_plan(layer, plan, shapes)
        except ShapeError as error:
            problem = error.problem_for([self.describe(w, mark) for w in wires])
            source = "" if error.inputs or len(wires) > 1 else f"; what comes in is {self.describe(wires[0], mark)}"
            place = f"{self.path}.{full}"
            # The template has no names of inputs: it is one cause for all uses of a block
            hint = self.with_fitting(problem.hint, wires) if "/" not in full else problem.hint
            self.problems.add(Problem(problem.message + source, hint, mark, place), error.template.message)
            return error.instead if isinstance(error.instead, Plan) else None
        except (Exception, SystemExit) as error:
            failure = failure_at(error, layer, mark, f"{self.path}.{full}")
            if failure is None:
                raise
            self.problems.add(failure)
            return None
        if plan is None or not self._is_countable(plan, mark, full):
            return None
        self._plans[key] = plan
        return plan

    def with_fitting(self, hint: str, wires: Sequence[Wire]) -> str:
        """Extend the hint that asks for a branch of some size by the nearest node above that has it."""
        found = re.search(r"take a branch that is ([\dx]+)", hint)
        if found is None:
            return hint
        taken = {wire.name for wire in wires}
        ends = {name: wire for name in self.top.visible() if (wire := self.top.find(name)) is not None}
        fits = [
            name
            for name, wire in ends.items()
            if wire.name not in taken and wire.shape is not None and "x".join(map(str, wire.shape.size)) == found[1]
        ]
        return hint.replace(found[0], f"{found[0]}, as `{fits[-1]}` is") if fits else hint

    def _is_countable(self, plan: Plan, mark: Mark, full: str) -> bool:
        """Whether the shapes of a plan are small enough to compute with; reports it if not."""
        for what, shape in [
            ("the output", plan.shape),
            *((f"`{name}`", shape) for name, shape in plan.weights.items()),
        ]:
            message = too_large(what, shape)
            if message:
                self.fail(message, "Is a number too long, or a `concat` repeated too often?", mark, full)
                return False
        return True

    def _arity_fits(self, layer: Layer, wires: Sequence[Wire], mark: Mark, full: str) -> bool:
        if layer.arity is None and len(wires) < 2:
            self.fail(f"`{layer.kind}` joins two nodes or more", "Name them: `from: [prev, stem]`.", mark, full)
            return False
        counts = layer.arity if isinstance(layer.arity, tuple) else (layer.arity,)
        if layer.arity is not None and len(wires) not in counts:
            takes = "one input" if layer.arity == 1 else f"{' or '.join(map(str, counts))} inputs"
            hint = "Merge them first: `- concat` or `- add` with that `from`." if layer.arity == 1 else ""
            if layer.input_names:
                first = layer.input_names[0]
                hint = f"In this order, or by name as `from: {{{first}: ..., ...}}`: {', '.join(layer.input_names)}."
            self.fail(f"`{layer.kind}` takes {takes}, and `from` names {len(wires)}", hint, mark, full)
            return False
        return True

    def describe(self, wire: Wire, here: Mark) -> str:
        """Return `(256, 40, 40) from `up_1` (line 31)`, with the file where it is not that of `here`."""
        mark = self.marks.get(wire.name)
        line = mark.in_brackets if mark is not None else ""
        if mark is not None and mark.file != here.file:
            line = f" ({mark.file}:{mark.line})" if mark.line else f" ({mark})"
        return f"{wire.shape} from `{wire.name}`{line}"

    def add(
        self, full: str, kind: str, layer: Layer, wires: Sequence[Wire], plan: Plan, mark: Mark
    ) -> tuple[LayerNode, Wire]:
        """Add a node; return it and its output."""
        wire = propagation.propagate(wires, plan, full, self.channel_axes)
        shapes = tuple([wire.shape for wire in wires if wire.shape is not None])
        inputs = tuple([wire.name for wire in wires])
        node = LayerNode(full, kind, layer, inputs, shapes, plan, wire.symbolic_fields, mark)
        # A name that is taken is reported by `Expander.register`
        if full not in self.by_name:
            self.nodes.append(node)
            self.by_name[full] = node
        for text in plan.warnings:
            self.warned.add(Problem(text, "", mark, f"{self.path}.{full}"))
        return node, wire

    # --- initial values, shared and tied weights
    # ---------------------------------------------------------------------

    def initial_values(self, values: Node | None, plan: Plan, full: str) -> dict[str, Any]:
        """Check `values` of a node against the shapes of its weights and buffers, and return those that fit."""
        if values is None or values.broken:
            return {}
        if not values.is_map:
            message = f"`values` must be a mapping of weights to numbers, not {shown(values.plain())}"
            self.fail(message, "Write `values: {weight: [[...]], bias: [...]}`.", values.mark, full)
            return {}
        shapes = {**plan.weights, **plan.buffers}
        fitting = {}
        for name, node in values.map.items():
            if name not in shapes:
                hint = did_you_mean(name, shapes) if shapes else "It has no weights at all."
                self.fail(f"there is no weight `{name}` to give values to", hint, node.mark, f"{full}.values.{name}")
                continue
            shape = _nested_shape(node.plain())
            if shape not in ((), tuple(shapes[name])):
                is_shape = "not finite numbers in rows of one length" if shape is None else str(Shape(shape))
                message = f"`{name}` has shape {Shape(shapes[name])}, and the values given are {is_shape}"
                self.fail(message, "A single number fills all of it.", node.mark, f"{full}.values.{name}")
                continue
            fitting[name] = node.plain()
        return fitting

    def place_shared(
        self, target: str, full: str, wires: Sequence[Wire], mark: Mark, of: Lender | None = None
    ) -> Wire:
        """Add a node that runs the layer of `target`, in the network `of` or this one, with its weights.

        Returns its output.
        """
        broken = Wire(full, None)
        self.marks[full] = mark
        there = self.by_name if of is None else of.placer.by_name
        first = there.get(target)
        shapes = tuple(wire.shape for wire in wires if wire.shape is not None)
        if first is None or len(shapes) != len(wires):
            return broken
        if first.tied and of is not None:
            message = f"`{of.name}/{target}` runs the weight of `{of.name}/{first.tied}`, which is not here"
            hint = f"Put both into `layers` with a name in `{of.name}`, and share that."
            self.fail(message, hint, mark, full)
            return broken
        tied = there[first.tied] if first.tied else None
        plan = self.plan(first.layer, shapes, wires, mark, full, tied)
        network = "" if of is None else of.name
        if plan is None or not self.fits(first, plan, wires[0], mark, full, network):
            return broken
        node, wire = self.add(full, first.kind, first.layer, wires, plan, mark)
        node.borrow(first, network)
        node.tied = first.tied
        return wire

    def fits(self, first: LayerNode, plan: Plan, x: Wire, mark: Mark, full: str, network: str = "") -> bool:
        """Whether `plan` can use the weights of `first`, of another `network` or this one; reports it if not."""
        if dict(plan.weights) == dict(first.plan.weights) and dict(plan.buffers) == dict(first.plan.buffers):
            return True
        name = f"{network}/{first.name}" if network else first.name
        message = (
            f"`{name}`{first.mark.in_brackets} was built for {first.arriving[0]}, and "
            f"{self.describe(x, mark)} wants weights of another shape"
        )
        self.fail(message, "Weights can only be shared between inputs that fit them.", mark, full)
        return False

    def counterpart(self, name: str, mark: Mark) -> LayerNode | None:
        """Return the node called `name` if it is of the entry at `mark`.

        An unnamed node is numbered: a `when` that skips a layer in the shared scope gives its number to another
        entry.
        """
        first = self.by_name.get(name)
        return first if first is not None and first.mark == mark else None

    def can_share(
        self, first: LayerNode | None, plan: Plan, x: Wire, mark: Mark, full: str, network: str = ""
    ) -> bool:
        """Whether a layer of a shared scope finds the weights that it needs; reports it if not."""
        if first is not None or not (plan.weights or plan.buffers):
            return first is None or self.fits(first, plan, x, mark, full, network)
        message = f"`{full}` finds no weights to share: the scope ran without this layer before"
        self.fail(message, "A `when` in a shared scope must come out the same each time.", mark, full)
        return False

    def tied_node(self, tie: Node | None, names: Names, full: str) -> LayerNode | None:
        """Return the node that `tie` names; None where it names none, which is reported."""
        if tie is None:
            return None
        if not isinstance(tie.value, str):
            if not tie.broken:
                self.fail(f"`tie` wants the name of a node, not {shown(tie.plain())}", "", tie.mark, full)
            return None
        wire = names.find(tie.value)
        if wire is None:
            message, hint = self.explain_unknown(tie.value, full.rsplit("/", 1)[-1], names, tie.mark)
            self.fail(message, hint, tie.mark, full)
        elif wire.name in self.by_name and not names.is_input(tie.value):
            return self.by_name[wire.name]
        elif wire.shape is not None:
            self.fail(f"`{tie.value}` is an input and has no weight", TIED_TO, tie.mark, full)
        return None

    def _tied_plan(self, layer: Layer, x: Shape, tied: LayerNode | None, mark: Mark, full: str) -> Plan | None:
        assert tied is not None
        if not layer.ties:
            self.fail(f"`{layer.kind}` cannot be tied: only linear layers can", "Drop `tie`.", mark, full)
            return None
        if tied.layer.lends is None:
            message = (
                f"`{tied.name}`{tied.mark.in_brackets} is of kind `{tied.kind}`, whose weight no other layer runs"
            )
            self.fail(message, TIED_TO, mark, full)
            return None
        if tied.tied:
            message = f"`{tied.name}`{tied.mark.in_brackets} has no weight of its own: it runs that of `{tied.tied}`"
            self.fail(message, f"To run `{tied.tied}` again, write `share: {tied.tied}`.", mark, full)
            return None
        transposed = tied.layer.lends == "transposed"
        shape, expected = tuple(tied.plan.weights["weight"]), tuple(layer.tied_weight_shape(x, transposed))
        if shape != expected:
            message = f"the weight of `{tied.name}`{tied.mark.in_brackets} is {Shape(shape)}, and this layer wants "
            message += f"{Shape(expected)}{' before it is transposed' if transposed else ''}"
            self.fail(message, _tie_hint(shape, expected, x, transposed), mark, full)
            return None
        return layer.tied_plan(x)

    # --- names ------------------------------------------------------------------------------------------------------

    def is_input(self, wire: Wire) -> bool:
        """Whether a wire is an input of the network."""
        return wire.name not in self.by_name and wire.shape is not None

    def explain_not_shared(self, text: str, own: str, names: Names, here: Mark) -> tuple[str, str]:
        """Return the message and hint for a `share: text` that finds no weights."""
        if text in {"prev", "input"} or names.find(text) is not None:
            what = "what stands above" if text == "prev" else "what comes in"
            return (
                f"`{text}` is {what}, and `share` wants the name of a node that has weights",
                "Give that node a name.",
            )
        if (lent := why_not_lent(text, self)) is not None:
            return lent
        chain = [own]
        while chain[-1] in self.shares and len(chain) < MAX_AXES:
            chain.append(self.shares[chain[-1]])
            if chain[-1] == own:
                circle = " -> ".join(f"`{name}`" for name in chain)
                message = f"{circle} share each other in a circle" if len(chain) > 2 else f"`{own}` shares itself"
                return message, "One of them must be a layer of its own, above the others."
        return self.explain_unknown(text, own, names, here)

    def full_name(self, text: str, names: Names, known: Mapping[str, object]) -> str:
        """Return the full name of the scope that `text` means, in these names or those around them."""
        scope: Names | None = names
        while scope is not None:
            if scope.prefix + text in known:
                return scope.prefix + text
            scope = scope.outer
        return text

    def explain_unknown(self, text: str, own: object, names: Names, here: Mark) -> tuple[str, str]:
        """Return the message and hint for a `text` that names no node at `here`."""
        above = "A node can only take what stands above it."
        if text.partition("/")[0] in self.other_networks:
            message = f"`{text}` is in another network, and a layer takes values and ties to layers of its own"
            layer = text if "/" in text else f"{text}/..."
            return message, f"`share: {layer}` runs weights of it; an objective hands values from network to network."
        if text == own:
            return f"`{text}` takes itself", above
        if text in names.prefix.split("/"):
            return f"`{text}` is the scope that this stands in, and is not done yet", above
        mark = self.entry_names.get(text)
        if mark is not None and mark.file == here.file and mark.place < here.place:
            hint = "Inside a named scope or block it is called scope/name; a `when` may have left it out."
            return f"`{text}`{mark.in_brackets} cannot be reached from here", hint
        if mark is not None:
            return f"`{text}` comes later{mark.on_line}", above
        return f"there is no node `{text}` above this one", did_you_mean(text, [*names.visible(), "prev", "input"])


def too_large(what: str, shape: Sequence[int]) -> str:
    """Return the message for a shape that is too large for any tensor; else an empty text."""
    if len(shape) > MAX_AXES:
        return f"{what} has {len(shape):,} axes, and a tensor has {MAX_AXES} at most"
    if prod(shape) > MAX_COUNT:
        return f"{what} has more than 10^18 values"
    return ""


def _tie_hint(shape: tuple[int, ...], expected: tuple[int, ...], x: Shape, transposed: bool) -> str:
    """Return the hint where a tied weight does not have the expected shape."""
    if transposed:
        if shape[0] == x[-1]:
            return f"Let this one be `linear: {shape[1]}`."
        return f"Tie it to a `linear: {expected[0]}` that takes {expected[1]} values, as many as this one gives."
    if shape[1] == x[-1]:
        return f"Let this one be `linear: {shape[0]}`."
    return f"`- linear: {shape[1]}` above it brings what comes in to the {shape[1]} values of the embedding."


def _nested_shape(value: Any) -> tuple[int, ...] | None:
    """Return the shape of nested lists of finite numbers; None where rows differ, or for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return () if math.isfinite(value) else None
    if not isinstance(value, list):
        return None
    inner = {_nested_shape(v) for v in value}
    if len(inner) > 1 or None in inner:
        return None
    return (len(value), *(inner.pop() or ())) if inner else (0,)
