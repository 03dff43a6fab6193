"""All receipts of a spec, those about exact outputs too: what `dlx verify` runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import graph as graphs
from .errors import DlxError, Mark, Problem, SpecError
from .graph import Graph
from .graph.expect import Receipt, claims, judged, of_results, receipts
from .graph.measures import Unmeasured, part
from .lazy import torch
from .shapes import bytes_text
from .spec import Experiment, load
from .spec.claims import Claim
from .spec.located import MAX_BYTES, SUFFIXES
from .spec.validation import shown

if TYPE_CHECKING:
    from torch import Tensor, fx

DTYPES = {"float": "float64", "int": "int64", "bool": "bool"}


@dataclass(frozen=True)
class Verified:
    """A spec with its receipts, in the order of its `expect`."""

    experiment: Experiment
    graph: Graph
    receipts: Sequence[Receipt]


def found(paths: Sequence[Path]) -> list[Path]:
    """The specs at `paths`: files as they are, and every whole spec in a folder. SpecError where there is none."""
    missing = [path for path in paths if not path.exists()]
    if missing:
        hint = "Name specs, or folders of them: `dlx verify specs/udl`."
        raise SpecError(*(Problem(f"there is no {path}", hint, Mark(str(path))) for path in missing))
    specs = [spec for path in paths for spec in (_below(path) if path.is_dir() else [path])]
    if not specs:
        where = " and ".join(map(str, paths))
        raise SpecError(Problem(f"there are no specs in {where}", "A spec starts with `dlx: 1`.", Mark(where)))
    return list(dict.fromkeys(specs))


def _below(folder: Path) -> Iterator[Path]:
    """Files that say which version of the format they are: others are parts of specs."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in SUFFIXES and path.is_file() and _is_whole(path):
            yield path


def _is_whole(path: Path) -> bool:
    """Whether a file says so, or cannot be read, which is told when it is its turn."""
    try:
        with path.open("rb") as file:
            lines = file.read(MAX_BYTES).splitlines()
    except OSError:
        return True
    return any(line.startswith((b"dlx:", b"dlx =", b"dlx=")) for line in lines)


def verify(paths: Iterable[Path]) -> Iterator[Verified]:
    """Each spec with its receipts. SpecError, after the last of them, with the mistakes of those that are wrong."""
    problems: list[Problem] = []
    for path in paths:
        try:
            experiment = load(path)
            graph = graphs.trace(experiment)
            yield Verified(experiment, graph, all_of(experiment, graph))
        except DlxError as error:
            problems += error.problems
    if problems:
        raise SpecError(*problems)


def all_of(experiment: Experiment, graph: Graph) -> list[Receipt]:
    """The receipts of one spec, in file order; torch is only imported where exact outputs are claimed."""
    exact = [claim for claim in claims(experiment) if claim.quantity == "output"]
    results = receipts(experiment, graph)
    if exact:
        results += list(_outputs(exact, experiment, graph))
    return sorted(results, key=lambda r: (r.claim.mark.file, r.claim.mark.line, r.claim.mark.column))


def _outputs(claims: Sequence[Claim], experiment: Experiment, graph: Graph) -> Iterator[Receipt]:
    from .network import build
    from .train import device

    wanted, free = 8 * (graph.params + graph.buffers) + 2 * graph.activation_bytes, device.free_memory()
    if wanted > free:
        why = f"the network takes {bytes_text(wanted)}, and {bytes_text(free)} are free"
        yield from (Receipt(claim, "FAILS", None, why) for claim in claims)
        return
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # while it is built: given weights are not rounded to float32 first
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = build(graph, experiment.init).double().eval()
    finally:
        torch.set_default_dtype(default)
    values = _recorder(network, graph)
    for claim in claims:
        try:
            inputs = _inputs(claim.figures["at"], graph)
            ours = values(inputs, _node(claim, graph))
        except ValueError as error:
            yield Receipt(claim, "FAILS", None, str(error))
        except (IndexError, RuntimeError) as error:  # such as an index that an embedding has not
            why = f"torch cannot run it: {str(error).strip().splitlines()[0]}"
            yield Receipt(claim, "FAILS", None, why)
        else:
            yield judged(claim, ours)


def _node(claim: Claim, graph: Graph) -> str:
    """The node whose value is claimed, or that a scope ends with; empty for the outputs of the network."""
    name = str(claim.figures.get("of", ""))
    try:
        last = part(graph, name).last if name else None
    except Unmeasured as error:
        raise ValueError(str(error)) from error
    if name and last is None:
        raise ValueError(f"`{name}` is an input, and `of` names a node")
    return last.name if last is not None else ""


def _inputs(given: Any, graph: Graph) -> list[Tensor]:
    """One sample as a batch, an input each. ValueError where it does not fit."""
    named = given if isinstance(given, dict) else {next(iter(graph.inputs)): given}
    if named.keys() != graph.inputs.keys():
        raise ValueError(f"`at` gives {', '.join(named) or 'nothing'}, and the inputs are {', '.join(graph.inputs)}")
    tensors = []
    for name, shape in graph.inputs.items():
        try:
            value = torch.as_tensor(named[name], dtype=getattr(torch, DTYPES[shape.dtype]))
            exact = torch.as_tensor(named[name], dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise ValueError(f"`{name}` wants numbers in rows of one length, not {shown(named[name])}") from error
        if value.dim() and tuple(value.shape) != tuple(shape):
            raise ValueError(f"`{name}` is {shape}, and `at` gives {tuple(value.shape)}")
        if shape.dtype == "int" and bool((exact != value).any()):
            raise ValueError(f"`{name}` wants whole numbers, not {shown(named[name])}")
        tensors.append(value.expand(1, *shape))
    return tensors


def _recorder(network: fx.GraphModule, graph: Graph) -> Any:
    """A function from inputs to the value of a node, or of all outputs, as plain numbers of the one sample."""
    calls = [node.name for node in network.graph.nodes if node.op == "call_module"]  # fx changes names of Python's
    names = dict(zip((node.name for node in graph.nodes), calls, strict=True))

    class Recorder(torch.fx.Interpreter):
        def run_node(self, node: fx.Node) -> Any:
            self.seen = getattr(self, "seen", {})
            self.seen[node.name] = super().run_node(node)
            return self.seen[node.name]

    def value(inputs: list[Tensor], name: str) -> Any:
        recorder = Recorder(network, garbage_collect_values=False)
        with torch.no_grad():
            result = recorder.run(*inputs)
        return _plain(recorder.seen[names[name]] if name else result)

    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    plain = value[0].tolist()
    return plain[0] if isinstance(plain, list) and len(plain) == 1 and not isinstance(plain[0], list) else plain


def trained(verified: Verified, runs: Path) -> Verified:
    """The same after a training, where claims are about one; they stay `not run` where it cannot start."""
    from . import experiment

    if not any(receipt.claim.trained for receipt in verified.receipts):
        return verified
    try:
        metrics = experiment.run(verified.experiment, runs).metrics
    except DlxError as error:
        why = error.problems[0].message
        after = [replace(r, why=why) if r.claim.trained else r for r in verified.receipts]
    else:
        judged_by = {r.claim.path: r for r in of_results(verified.experiment, metrics)}
        after = [judged_by.get(r.claim.path, r) for r in verified.receipts]
    return replace(verified, receipts=after)
