"""The memory of one call of a network, walked forward and backward over the plans of its layers. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from ..layers.base import OWN
from ..shapes import Window
from .graph import Graph, LayerNode

FLOAT = 4  # bytes of a weight, a gradient, an optimizer's value
WEIGHT_STORAGE = ""
"""The storage that the output of a `parameter` layer shows: its bytes are counted with the weights."""
Usage = tuple[str, int, int, int]
"""What runs, and bytes of gradients of weights, of saved activations, and of temporary tensors."""


class TrainingStep:
    """One training step, walked forward, then backward."""

    def __init__(
        self, graph: Graph, batch: int, differentiable: Collection[str] = (), *, gradient: bool = True
    ) -> None:
        """`differentiable` are the inputs that a gradient is asked of; without `gradient` there is none at all."""
        self.graph, self.batch, self.gradient = graph, batch, gradient
        self.outputs = set(graph.outputs.values())
        self.bytes = {WEIGHT_STORAGE: 0} | {name: batch * shape.bytes for name, shape in graph.inputs.items()}
        self.storage = {name: name for name in graph.inputs}
        """The value whose memory a value uses: another one for a view, as in `Tensor.untyped_storage`."""
        self.owners: list[dict[str, int]] = []
        """For each node, those whose learned weights it uses, with their number: its own, shared ones, tied ones."""
        self.requires_grad: set[str] = set(differentiable) if gradient else set()
        self.last_use: dict[str, int] = {}
        """The last node that reads a storage."""
        self.saved_by: dict[str, int] = dict.fromkeys(graph.inputs, -1)
        """The first node that saves a storage. The backward pass comes to it last, and frees the storage there."""
        self.saved_inside: list[int] = []
        """For each node, bytes that it saves besides its inputs and its output."""
        self.saved_weights: list[int] = []
        """The part of `saved_inside` that does not grow with the batch: weights computed from other weights."""
        self.used = _ancestors(self.outputs, graph)
        for index, node in enumerate(graph.nodes):
            self._add_value(node)
            self._add_saved(index, node)

    def _add_value(self, node: LayerNode) -> None:
        self.bytes[node.name] = self.batch * node.shape.bytes
        shown = WEIGHT_STORAGE if node.plan.window == "nothing" else self.storage[node.inputs[0]]
        self.storage[node.name] = shown if node.plan.view else node.name
        users = [node, *([self.graph.by_name[node.tied]] if node.tied else [])] if self.gradient else []
        # the gradient of a weight of another network is counted with that one
        learned = {
            one.owner or one.name: 0 if one.lender else one.weights_of.params
            for one in users
            if one.weights_of.params and not one.weights_of.frozen
        }
        self.owners.append(learned)
        if learned or any(name in self.requires_grad for name in self._differentiable(node)):
            self.requires_grad.add(node.name)

    def _differentiable(self, node: LayerNode) -> list[str]:
        """Return the inputs that the output has a gradient with respect to."""
        if node.plan.window == "nothing":
            return []
        return [name for i, name in enumerate(node.inputs) if i not in node.plan.no_gradient]

    def _add_saved(self, index: int, node: LayerNode) -> None:
        """Note the tensors that autograd saves for the gradient of a node."""
        self.last_use |= dict.fromkeys((self.storage[name] for name in (*node.inputs, node.name)), index)
        # Autograd builds no graph where no gradient is required, and drops that of a branch that no output uses
        if node.name not in self.requires_grad or node.name not in self.used:
            self.saved_inside.append(0)
            self.saved_weights.append(0)
            return
        required = [
            i for i, name in enumerate(node.inputs) if i not in node.plan.no_gradient and name in self.requires_grad
        ]
        saved = node.plan.saved_tensors([*required, *([OWN] if self.owners[index] else [])], len(node.inputs))
        for name in (*(node.inputs[i] for i in sorted(saved.inputs)), *([node.name] if saved.output else [])):
            # by storage: a view and its base, or one input of several layers, are allocated once
            self.saved_by.setdefault(self.storage[name], index)
        self.saved_inside.append(self.batch * saved.more + saved.fixed)
        self.saved_weights.append(saved.fixed)

    def timeline(self) -> Iterator[Usage]:
        """Yield the memory in use at every layer forward, the loss, every layer backward, and the update."""
        yield from self.forward()
        yield "loss", 0, self.saved, self.of_loss
        yield from self.backward(self.saved)
        yield "update", FLOAT * self.graph.trainable, sum(self.bytes[name] for name in self.graph.inputs), 0

    @property
    def saved(self) -> int:
        """Bytes that autograd keeps after the forward pass, the inputs included."""
        return sum(self.bytes[name] for name in self.saved_by) + sum(self.saved_inside)

    @property
    def of_loss(self) -> int:
        """Bytes of a loss: what it saves (log-probabilities), and two gradients of the size of the output."""
        return 3 * sum(self.bytes[name] for name in self.outputs)

    def forward(self) -> Iterator[Usage]:
        saved = sum(self.bytes[name] for name in self.graph.inputs)
        temporary: dict[str, int] = {}
        for index, node in enumerate(self.graph.nodes):
            if not node.plan.view:
                # An output that some later layer saves stays from here on; Python frees the others after their last
                # use
                if node.name in self.saved_by:
                    saved += self.bytes[node.name]
                else:
                    temporary[node.name] = self.bytes[node.name]
            saved += self.saved_inside[index]
            working = sum(temporary.values()) + sum(self._reordered_copies(node))
            yield f"forward of {node.name}", 0, saved, working
            for name in [n for n in temporary if self.last_use[n] == index and n not in self.outputs]:
                del temporary[name]

    def _reordered_copies(self, node: LayerNode) -> tuple[int, int]:
        """Bytes that a convolution copies into oneDNN's memory format: input and output; weight."""
        if not isinstance(node.plan.window, Window) or "weight" not in node.plan.weights:
            return 0, 0
        return sum(self.bytes[name] for name in (*node.inputs, node.name)), FLOAT * node.plan.params

    def backward(self, saved: int, *, weights: bool = True) -> Iterator[Usage]:
        """Yield the memory in use at every layer backward; without `weights` no gradient of them is computed."""
        freed: Counter[int] = Counter()
        for name, index in self.saved_by.items():
            freed[index] += self.bytes[name]
        gradients, with_gradient, weight_gradients = ActivationGradients(self.bytes), set[str](), 0
        for name in self.outputs & self.requires_grad:
            gradients.allocate(name)
        for index, node in reversed(list(enumerate(self.graph.nodes))):
            if gradients.has(node.name):
                before = weight_gradients
                # Weights of several nodes have one gradient, allocated by the first of them in the backward pass
                new_owners = self.owners[index].keys() - with_gradient
                weight_gradients += FLOAT * sum(self.owners[index][name] for name in new_owners)
                with_gradient |= new_owners
                inputs = [name for name in self._differentiable(node) if name in self.requires_grad]
                # oneDNN runs one primitive for the gradient of the input and one for that of the weight: not at once
                # and that of the input alone was measured to copy nothing
                copies = max(self._reordered_copies(node)) if weights else 0
                working = gradients.propagate(node, inputs) + copies
                if node.plan.derived_bytes:
                    # The gradient of a computed weight exists before that of the weights it was computed from
                    yield f"backward of {node.name}", before, saved, working + node.plan.derived_bytes
                yield f"backward of {node.name}", weight_gradients, saved - self.saved_weights[index], working
            saved -= freed[index] + self.saved_inside[index]


def _ancestors(outputs: set[str], graph: Graph) -> set[str]:
    """Return the values that the outputs are computed from, and the outputs."""
    used = set(outputs)
    for node in reversed(graph.nodes):
        if node.name in used:
            used.update(node.inputs)
    return used


class ActivationGradients:
    """The gradients of activations that are allocated at one moment of the backward pass.

    Gradients are numbered, for several values may share one: the gradient of a sum is that of each of its inputs, and
    a view passes a view on.
    """

    def __init__(self, sizes: dict[str, int]) -> None:
        self.sizes = sizes
        self.gradient_of: dict[str, int] = {}
        """The number of the gradient of each value."""
        self.references: Counter[int] = Counter()
        self.bytes: dict[int, int] = {}
        """Bytes of each gradient."""
        self.total = self.count = 0

    def has(self, name: str) -> bool:
        return name in self.gradient_of

    def allocate(self, name: str) -> None:
        """Allocate a gradient for a value."""
        self.count += 1
        self.bytes[self.count] = self.sizes[name]
        self.total += self.sizes[name]
        self._share(name, self.count)

    def _share(self, name: str, number: int) -> None:
        self.gradient_of[name] = number
        self.references[number] += 1

    def _release(self, number: int) -> None:
        self.references[number] -= 1
        if not self.references[number]:
            self.total -= self.bytes.pop(number)

    def propagate(self, node: LayerNode, inputs: list[str]) -> int:
        """Pass the gradient of a node on to its `inputs`; return the most bytes allocated meanwhile."""
        arrived = self.gradient_of.pop(node.name)
        earlier = {name: self.gradient_of.pop(name) for name in dict.fromkeys(inputs) if name in self.gradient_of}
        for name in dict.fromkeys(inputs):
            if node.plan.passes_gradient or (node.plan.view and self.sizes[name] == self.sizes[node.name]):
                self._share(name, arrived)
            else:
                self.allocate(name)
        most = self.total
        self._release(arrived)
        for name, old in earlier.items():
            most = max(most, self._accumulate(name, old))
        return most

    def _accumulate(self, name: str, old: int) -> int:
        """Add the new gradient of a value to an earlier one; return the most bytes allocated meanwhile."""
        new = self.gradient_of[name]
        # Autograd accumulates in place only where nobody else holds the buffer; else the sum is a third tensor
        if self.references[old] == 1 and self.bytes[old] == self.sizes[name]:
            self.gradient_of[name] = old
            self._release(new)
            return self.total
        self.allocate(name)
        most = self.total
        self._release(new)
        self._release(old)
        return most
