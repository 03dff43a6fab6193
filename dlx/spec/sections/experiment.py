"""The experiment of a spec: all sections validated but the layers, whose checks need the shapes of their inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import Mark, Problem, did_you_mean
from ...init import Default, Initializer
from ...plugins import Plugin, keep, use
from ...registry import FAMILIES
from ...utils.passwords import is_known, masked
from .. import compose, overrides, plugin_list, shipped
from ..expressions import ExpressionError, ItemBudget, resolve
from ..from_python import NAMES
from ..section_names import SECTIONS
from ..syntax import yaml_writer
from ..syntax.nodes import OVERRIDE
from ..syntax.read import BROKEN, Node
from ..validation import MAX_PROBLEMS, build, choose, shown, unknown_keys
from . import data_paths
from .expect import CLAIMING
from .freeze import FreezePattern, parse_freeze
from .networks import OF_OBJECTIVE, network_names, parse_init, parse_networks, parse_train
from .place_meant import place_meant
from .stages import PATH, parse_stages, problems_of_all, unused, without_effect
from .track import PASSWORDS, Track

if TYPE_CHECKING:
    from ...baselines import Baseline
    from ...data import Dataset, Facts
    from ...objectives import Objective
    from ..analyses import Analysis
    from .followers import Follower
    from .initial_weights import InitialWeights
    from .network_sources import NetworkSource
    from .prune import Prune
    from .sweep import Sweep
    from .train import Train

VERSION = 1


@dataclass(frozen=True)
class Experiment:
    """A composed spec. `problems` holds the mistakes so far: `graph.trace` adds those of the network and raises all.

    `root` has all nodes of what is trained; the graph expands `network` and `blocks`. Of a spec with `stages` it is
    the experiment of the last one, and `whole` has the nodes as written.
    """

    path: Path
    name: str
    root: Node
    vars: dict[str, Any]
    network: Node
    blocks: Node
    networks: Mapping[str, Node] = field(default_factory=dict)
    """The networks by name where the spec has `networks`; `network` is empty then."""
    sources: Mapping[str, NetworkSource] = field(default_factory=dict)
    """By name, where the networks come from that have the layers and weights of a run or of an earlier stage."""
    followers: Mapping[str, Follower] = field(default_factory=dict)
    """By name, the networks that follow others, and how."""
    scope: str = ""
    """In the view of one of several networks, its name."""
    within: tuple[Experiment, str] | None = None
    """Of a network taken out of a spec of several, that spec and its name there: it may share layers of others."""
    source: str = ""
    data: Dataset | None = None
    known_facts: Facts | None = None
    """Facts of data that is not read, such as those that a run has recorded."""
    objective: Objective | None = None
    init: Initializer = field(default_factory=Default)
    inits: Mapping[str, Initializer] = field(default_factory=dict)
    """The initializers by network, where `init` is not one for all."""
    weights: InitialWeights | None = None
    train: Train | None = None
    freeze: tuple[FreezePattern, ...] = ()
    prune: Prune | None = None
    track: Track = field(default_factory=Track)
    sweep: Sweep | None = None
    baselines: tuple[Baseline, ...] = ()
    analyses: Mapping[str, Analysis] = field(default_factory=dict)
    """The analyses by name that its report shows and its claims are about."""
    plugins: tuple[Plugin, ...] = ()
    whole: Node | None = None
    """All nodes as written, where the spec has `stages`."""
    stages: tuple[Stage, ...] = ()
    """The stages in order, where the spec has some; this experiment is the last one."""
    stage: str = ""
    """Of the experiment of one stage, its name."""
    first_stage: Experiment | None = None
    """Of a later stage, the experiment of the first."""
    problems: tuple[Problem, ...] = ()
    overrides: tuple[str, ...] = ()
    """The overrides that were applied, as they were written."""

    def __repr__(self) -> str:
        return f"<dlx.Experiment {self.name}: {self.path}>"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self.resolved())}</pre>"

    @property
    def written(self) -> Node:
        """All nodes as written, which overrides change."""
        return self.root if self.whole is None else self.whole

    def place(self, *keys: str) -> Mark:
        """Return the mark of a section, or of the nearest section around it that is written."""
        root = self.written if self.root.at(*keys[:1]) is None else self.root
        mark = root.mark
        for depth in range(1, len(keys) + 1):
            node = root.at(*keys[:depth])
            mark = node.mark if node is not None else mark
        return mark

    @property
    def where(self) -> tuple[str, ...]:
        """The keys of `network` in the spec."""
        return ("networks", self.scope) if self.scope else ("network",)

    def views(self) -> dict[str, Experiment]:
        """Return a view of the experiment for each network by name; a single one is named `network`."""
        if not self.networks:
            return {self.scope or "network": self}
        return {name: self._view(name, node) for name, node in self.networks.items()}

    def _view(self, name: str, node: Node) -> Experiment:
        """Return the view of one of several networks; one from elsewhere has layers and variables of its source."""
        if (source := self.sources.get(name)) is None:
            alone = replace(self, network=node, networks={}, sources={}, followers={}, scope=name)
            return replace(alone, init=self.init_of(name), inits={})
        there: Experiment = source.experiment.views()[source.network]
        bare = replace(there, data=None, objective=None, freeze=(), prune=None, stages=(), problems=())
        return replace(bare, name=self.name, scope=name, within=(source.experiment, source.network))

    def alone(self, name: str) -> Experiment:
        """Return the experiment with one of its `networks` as its `network`, without claims.

        The others need not be there, and their mistakes are left out.
        """
        own = {
            key: node for key, node in self.root.map.items() if key not in (*CLAIMING, "analyses", "freeze", "prune")
        }
        bare = replace(self.views()[name], freeze=(), prune=None, stages=())
        view = replace(bare, scope="", root=Node(own, self.root.mark), within=(self, name))
        return replace(view, problems=tuple(p for p in self.problems if not p.path.startswith("networks.")))

    def init_of(self, network: str) -> Initializer:
        """Return the initializer of a network, for names of nodes as its own graph has them."""
        one = self.inits.get(network, Default()) if self.inits else self.init
        return one.within(network) if self.networks else one

    @property
    def is_overridden(self) -> bool:
        """Whether an override has set a value of it, other than its claims."""
        sections = (node for key, node in self.written.map.items() if key not in (*CLAIMING, "analyses"))
        return any(node.mark.file.startswith(OVERRIDE) for one in sections for node in one.walk())

    def password_warning(self) -> Problem | None:
        """Return the warning about a password in `track.uri`; None where there is none."""
        if not (self.track.uri and is_known(self.track.uri)):
            return None
        message = "the password in `track.uri` is used, and kept in no file"
        return Problem(message, PASSWORDS, self.place("track", "uri"), "track.uri")

    def resolved(self) -> str:
        """Return the spec as one YAML text without defaults or overrides, which gives equal results.

        It names copies of its plugins beside it, which `plugins.keep` writes.
        """
        return self._resolved

    @cached_property
    def _resolved(self) -> str:
        head: dict[str, Any] = {"dlx": VERSION, "name": self.name}
        if self.plugins:
            head[plugin_list.PLUGINS] = plugin_list.resolved(self.plugins)
        return yaml_writer.yaml_text(head | {k: v for k, v in self.written.plain().items() if k not in head})

    def with_seed(self, seed: int, changes: Sequence[str] = ()) -> Experiment:
        """Return the experiment with one seed, `seed`, and with these changes, which are none of its overrides."""
        # `++` sets a key whether the spec has it or not.
        changed = self.changed([f"++train.seed={seed}", "++train.seeds=1", *changes])
        return changed.with_overrides(self.overrides)

    def changed(self, changes: Sequence[str]) -> Experiment:
        """Return the experiment with these overrides. SpecError where one cannot be applied."""
        self.use_plugins()
        own, changes = plugin_list.split(changes)
        root = overrides.apply(self.written, own, self.path)
        if own:
            plugin_list.activate(root)
        made = self.with_root(overrides.apply(root, changes, self.path))
        return made.with_overrides((*self.overrides, *own, *changes))

    def with_root(self, root: Node) -> Experiment:
        """Return the experiment of other nodes at this path, without overrides."""
        return _experiment(root, self.path)

    def with_overrides(self, applied: Sequence[str]) -> Experiment:
        """Return the experiment, and those of its stages, with these as the overrides that were applied."""
        own = tuple(applied)
        each = (replace(one, experiment=replace(one.experiment, overrides=own)) for one in self.stages)
        return replace(self, overrides=own, stages=tuple(each))

    @property
    def last_stage(self) -> Experiment:
        """The last of its stages by itself, whose mistakes and data are looked at alone; else the experiment."""
        return self.stages[-1].experiment if self.stages else self

    def overrides_without_effect(self) -> list[Problem]:
        """Return a warning for each override that some stages do not follow, which have values of their own."""
        assert self.whole is not None
        return list(without_effect(self.whole, {stage.name: stage.experiment.root for stage in self.stages}))

    def problems_of_stages(self, found: Mapping[str, Sequence[Problem]]) -> list[Problem]:
        """Return the problems that were found in stages, by their names, without those known so far; each once."""
        known = {stage.name: stage.experiment.problems for stage in self.stages}
        new = {name: [one for one in problems if one not in known[name]] for name, problems in found.items()}
        more = problems_of_all(new, {stage.name: stage.marks for stage in self.stages})
        return [problem for problem in more if problem not in self.problems]

    def use_plugins(self) -> None:
        """Let registries find the kinds of these plugins: another spec may have been read since."""
        use(self.plugins)

    def keep_plugins(self, folder: Path) -> None:
        """Save the copies of the plugins that the resolved spec names to the folder of that spec."""
        keep(folder, self.plugins)


@dataclass(frozen=True)
class Stage:
    """One of several trainings of a run, with the marks of what it writes itself."""

    name: str
    experiment: Experiment
    marks: frozenset[Mark] = frozenset()


def load(
    path: Path | str, changes: Sequence[str] = (), root: Node | None = None, plugins: Sequence[str] = ()
) -> Experiment:
    """Read, compose and override a spec: a file, or the name of a shipped one, `zoo/gpt2`.

    `root` is its content where that is in no file (`spec/in_memory`). `plugins` are files and modules beside those
    that the spec names; relative paths start at the working directory. SpecError where it cannot be read; other
    mistakes are in `problems`.
    """
    path = shipped.resolved(Path(path)) if root is None else Path(path)
    read = compose.files_of(path, root)
    own, changes = plugin_list.split(changes)
    listed = with_plugins(read, own, plugins, path)
    root = read.merged()
    root.value = listed.map | root.map
    root, problems = overrides.applied(root, changes, path)
    return _experiment(root, path, problems).with_overrides((*own, *changes))


def use_plugins_of(path: Path | None, plugins: Sequence[str]) -> None:
    """Run the plugins of a spec, and further ones, so that registries find their kinds. SpecError."""
    if path is None and not plugins:
        use(())
        return
    nothing = compose.Files(Node({}, Mark("--plugin")))
    read = compose.files_of(shipped.resolved(path)) if path is not None else nothing
    with_plugins(read, (), plugins, path or Path("--plugin"))


def with_plugins(read: compose.Files, changes: Sequence[str], plugins: Sequence[str], path: Path) -> Node:
    """Run the plugins of a spec and return its `plugins` alone; `changes` are overrides of them. SpecError."""
    nodes = [*read.all_plugins(), *plugin_list.named(plugins)]
    listed = Node({plugin_list.PLUGINS: Node(nodes, nodes[0].mark)} if nodes else {}, read.own.mark)
    listed = overrides.apply(listed, changes, path) if changes else listed
    plugin_list.activate(listed)
    return listed


def _experiment(root: Node, path: Path, found: Sequence[Problem] = ()) -> Experiment:
    """Build the experiment of a composed spec; of one with stages, that of the last stage."""
    if root.at(PATH) is None:
        return _single(root, path, found)
    plugin_list.activate(root)
    problems = list(found)
    names = [name.plain() for item in root.map[PATH].list if (name := item.at("name")) is not None]
    for node in (root, *root.map[PATH].list):
        data_paths.make_all_absolute(node, [name for name in names if isinstance(name, str)])
    nodes, each = parse_stages(root, problems), list[Stage]()
    earlier: dict[str, Experiment] = {}
    for one in nodes:
        earlier[one.name] = replace(_single(one.root, path, (), dict(earlier)), whole=root, stage=one.name)
        each.append(Stage(one.name, earlier[one.name], one.marks))
    bare = Node({key: node for key, node in root.map.items() if key != PATH}, root.mark)
    without = _single(bare, path, (), earlier)
    more = problems_of_all({one.name: one.experiment.problems for one in each}, {one.name: one.marks for one in each})
    # What every stage replaces is in none of them, and a mistake in it all the same
    dead = unused(root, nodes) if each else None
    more += [one for one in without.problems if dead is None or one.mark in dead or one.path.startswith("sweep")]
    problems += [problem for problem in more if problem not in problems]
    last = each[-1].experiment if each else without
    return replace(last, whole=root, stage="", stages=tuple(each), sweep=without.sweep, problems=tuple(problems))


def _missing_network(root: Node, problems: Sequence[Problem]) -> Iterator[Problem]:
    """Yield the mistake of a spec without a network, unless a section that it has may be meant."""
    meant = any(name in problem.hint for problem in problems for name in ("`network`", "`networks`"))
    if not meant and root.at("network") is None and root.at("networks") is None:
        yield Problem("there is no `network`", "Write `network:` with its `layers:`.", root.mark)


def _single(
    root: Node, path: Path, found: Sequence[Problem] = (), earlier: Mapping[str, Experiment] | None = None
) -> Experiment:
    """Build the experiment of a spec without stages, or of a stage with the experiments of those before it."""
    plugins = plugin_list.activate(root)
    problems = list(found)
    unknown_keys(root, SECTIONS, "", "a spec", problems, place_meant)
    _check_version(root, problems)
    variables = _variables(root, problems)

    def section(name: str) -> Node | None:
        node = root.at(name)
        return resolve(node, variables, error_callback(problems, name, node)) if node is not None else None

    data = section("data")
    if data is not None:
        data_paths.make_absolute(data, root.map["data"])
    sections: dict[str, Any] = {
        "data": _chosen("data", data, problems),
        "objective": _objective(section("objective"), problems),
    }
    problems += _replaced_data(root)
    networks = parse_networks(root, problems)
    names = network_names(root, networks)
    sections["objective"] = _of_networks(sections["objective"], names)
    sources = _sources(networks, earlier or {}, plugins, problems)
    followers = _followers(root.at("networks"), variables, problems)
    sections["init"], sections["inits"] = parse_init(section("init"), names, problems)
    if (weights := section("weights")) is not None:
        from .initial_weights import parse_weights

        sections["weights"] = parse_weights(weights, root.map["weights"], problems)
    sections["prune"] = _prune(section("prune"), problems)
    train, track = section("train"), section("track")
    if train is not None:
        learned = [OF_OBJECTIVE] if names and _has_parameters(sections["objective"]) else []
        sections["train"] = _following(parse_train(train, [*names, *learned], problems), sections["objective"])
    if track is not None:
        sections["track"] = tracking = build(Track, track, "track", problems) or Track()
        # The reader masks passwords in texts as written; an expression can put one together afterwards.
        if tracking.uri and masked(tracking.uri) != tracking.uri:
            message = "`track.uri` puts an address together with its password, which would be kept in files"
            problems.append(Problem(message, PASSWORDS, track.map["uri"].mark, "track.uri"))
    if (sweep := root.at("sweep")) is not None:
        from .sweep import Sweep, space_problems

        sections["sweep"] = build(Sweep, sweep, "sweep", problems)
        problems += space_problems(sweep, path)
    if (listed := section("baselines")) is not None:
        from ..baseline_list import parse_baselines

        sections["baselines"] = parse_baselines(listed, problems)
    sections["analyses"] = _analyses(root.at("analyses"), variables, problems)
    network = root.at("network")
    problems += _missing_network(root, problems)
    return Experiment(
        path=path,
        name=_text(root, "name", problems) or NAMES.get(path, path.stem),
        source=_text(root, "source", problems),
        root=root,
        vars=variables,
        network=network or Node({"layers": Node([], root.mark)}, root.mark),
        networks=networks,
        sources=sources,
        followers=followers,
        blocks=root.at("blocks") or Node({}, root.mark),
        freeze=parse_freeze(root.at("freeze"), problems),
        first_stage=next(iter((earlier or {}).values()), None),
        plugins=plugins,
        problems=tuple(problems),
        **sections,
    )


def _prune(node: Node | None, problems: list[Problem]) -> Prune | None:
    if node is None:
        return None
    from .prune import parse_prune  # not at the top: pydantic builds a class that few specs need

    return parse_prune(node, problems)


def _analyses(node: Node | None, variables: Mapping[str, Any], problems: list[Problem]) -> dict[str, Analysis]:
    if node is None:
        return {}
    from ..analyses import parse_analyses  # as in `_prune`

    return parse_analyses(
        node, lambda one, path: resolve(one, variables, error_callback(problems, path, one)), problems
    )


def _sources(
    networks: Mapping[str, Node],
    earlier: Mapping[str, Experiment],
    plugins: tuple[Plugin, ...],
    problems: list[Problem],
) -> dict[str, NetworkSource]:
    """Return where networks come from that have the weights of a run or of an `earlier` stage."""
    if not any("from" in node.map for node in networks.values() if node.is_map):
        return {}
    from .network_sources import parse_sources  # not at the top: pydantic builds classes that few specs need

    sources = parse_sources(networks, earlier, load, problems)
    if any(one.run is not None for one in sources.values()):
        use(plugins)  # the spec of the run has been read since
    return sources


def _followers(node: Node | None, variables: Mapping[str, Any], problems: list[Problem]) -> dict[str, Follower]:
    """Return how networks follow others, by name."""
    if node is None or not any("follow" in one.map for one in node.map.values() if one.is_map):
        return {}
    from .followers import parse_followers  # as in `_prune`

    return parse_followers(
        node.map, lambda one, path: resolve(one, variables, error_callback(problems, path, one)), problems
    )


def _objective(node: Node | None, problems: list[Problem]) -> Any:
    """Parse `objective`: a kind, or kinds by output, which is short for `heads: {of: ...}`."""
    registry = FAMILIES["objective"]
    if node is None or not node.is_map:
        return _chosen("objective", node, problems)
    heads = [key for key, child in node.map.items() if key not in registry and _names_kind(child, registry)]
    kinds = [key for key in node.map if key in registry]
    if heads and kinds:
        line = node.map[kinds[0]].mark.line
        message = f"the output `{heads[0]}` stands beside `{kinds[0]}`{f' (line {line})' if line else ''}, a kind"
        hint = "Write one objective, or one for each output by its name."
        problems.append(Problem(f"{message} of objective", hint, node.map[heads[0]].mark, f"objective.{heads[0]}"))
        return None
    if not heads:
        return _chosen("objective", node, problems)
    found: list[Problem] = []
    whole = Node({"heads": Node({"of": node}, node.mark)}, node.mark)
    made = choose(registry, whole, "objective", found)
    problems += [replace(one, path=one.path.replace(".heads.of", "", 1)) for one in found]
    return made


def _replaced_data(root: Node) -> list[Problem]:
    """Return a problem for data of no kind that another file or override has replaced.

    Its options, which were to be joined with those of the same kind, would be dropped without a word.
    """
    node, found, registry = root.at("data"), list[Problem](), FAMILIES["data"]
    while node is not None and (node := node.replaced) is not None:
        kind = node.value if isinstance(node.value, str) else next(iter(node.map), "") if len(node.map) == 1 else ""
        if kind and "${" not in kind and kind not in registry:
            mark = node.map[kind].mark if node.is_map else node.mark
            found.append(Problem(f"there is no {registry.noun} `{kind}`", did_you_mean(kind, registry), mark, "data"))
    return found


def _of_networks(objective: Any, names: Sequence[str]) -> Any:
    """Return the objective as it trains networks of these names; None without one."""
    return None if objective is None else objective.of_networks(names)


def _has_parameters(objective: Any) -> bool:
    """Whether an objective with phases learns parameters beside the weights."""
    if objective is None:
        return False
    return not _is_supervised(objective) and bool(objective.parameters())


def _is_supervised(objective: Any) -> bool:
    """Whether one network learns targets, and not the phases of an objective."""
    from ...objectives import Supervised  # not at the top: many specs have no objective

    return isinstance(objective, Supervised)


def _following(train: Train | None, objective: Any) -> Train | None:
    """Return a training in which what follows a metric, and names none, follows the main one of the objective."""
    if train is None or objective is None or (main := objective.main_metric) is None or _is_supervised(objective):
        return train
    return train.following(f"valid/{main}")


def _names_kind(node: Node, registry: Any) -> bool:
    """Whether a node names a kind, alone or with its options."""
    word = next(iter(node.map)) if len(node.map) == 1 else node.value
    return isinstance(word, str) and word in registry


def error_callback(problems: list[Problem], path: str, whole: Node) -> Any:
    """Return a callback for `resolve(whole)` that adds its errors to `problems`, at their keys below `path`."""

    def on_error(error: ExpressionError, node: Node) -> None:
        keys = whole.keys_to(node) or ()
        problems.append(Problem(error.message, error.hint, node.mark, ".".join((path, *map(str, keys)))))

    return on_error


def _check_version(root: Node, problems: list[Problem]) -> None:
    node = root.at("dlx")
    # To Python `dlx: true` is `dlx: 1`.
    if node is not None and (isinstance(node.value, bool) or node.value != VERSION):
        message = f"`dlx: {shown(node.plain())}` is a version of the format that this dlx does not read"
        problems.append(Problem(message, f"It reads `dlx: {VERSION}`.", node.mark, "dlx"))


def _variables(root: Node, problems: list[Problem]) -> dict[str, Any]:
    node = root.at("vars")
    known: dict[str, Any] = {}
    if node is None or node.value is None:
        return known
    if not node.is_map:
        message = f"`vars` must be a mapping of names to values, not {shown(node.plain())}"
        problems.append(Problem(message, "Write `vars: {width: 64}`.", node.mark, "vars"))
        return known
    room = ItemBudget()
    for name, child in node.map.items():
        if len(problems) > MAX_PROBLEMS:
            known[name] = BROKEN
            continue
        if not name.isidentifier() or name == "x":
            hint = "`x` is the shape that comes in." if name == "x" else "Letters, digits and `_`."
            problems.append(Problem(f"a variable cannot be called `{name}`", hint, child.mark, f"vars.{name}"))
        value = resolve(child, known, error_callback(problems, f"vars.{name}", child), room)
        known[name] = BROKEN if value.broken else value.plain()
    return known


def _text(root: Node, key: str, problems: list[Problem]) -> str:
    node = root.at(key)
    if node is None or node.value is None:
        return ""
    if not isinstance(node.value, str) or (key == "name" and not _is_name(node.value)):
        hint = "Letters, digits, `.`, `_` and `-`, not starting with a dot." if key == "name" else ""
        problems.append(Problem(f"`{key}` must be a word, not {shown(node.plain())}", hint, node.mark, key))
        return ""
    return node.value


def _is_name(text: str) -> bool:
    return bool(text) and text[0] != "." and len(text) <= 100 and all(c.isalnum() or c in "._-" for c in text)


def _chosen(section: str, node: Node | None, problems: list[Problem]) -> Any:
    return choose(FAMILIES[section], node, section, problems) if node is not None else None
