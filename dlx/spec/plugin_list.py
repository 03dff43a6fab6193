"""The section `plugins` of a spec: files and modules with further kinds. They run before anything else is read.

plugins:
  - my_layers.py                            # a file, from the folder of the file that writes it
  - mypackage.layers                        # a module that Python can import
  - {file: my_layers.py, sha256: 3f2a...}   # refused where the text is another one
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import Mark, Problem, SpecError
from ..plugins import Digest, Entry, Plugin, copies, load, use
from .sections.expect import CLAIMING
from .syntax.read import Node
from .validation import shown

PLUGINS = "plugins"
OVERRIDE = re.compile(rf"(?:~|\+{{0,2}}){PLUGINS}(?=[./=]|$)")
"""Beginning of an override of `plugins`."""
HOW = "Write `plugins: [my_layers.py]`, or `mypackage.module`; with a digest, `{file: my_layers.py, sha256: ...}`."
MAX_PLUGINS = 100


def taken(node: Node, group: str = "") -> list[Node]:
    """Remove `plugins` from the content of a file and return its entries; in a group `vars` it is a variable."""
    listed = node.map.get(PLUGINS)
    if listed is None or group.partition("/")[0] in {"vars", *CLAIMING} or (group and listed.is_map):
        return []
    assert isinstance(node.value, dict)
    del node.value[PLUGINS]
    if listed.value is None:
        return []
    return listed.list if listed.is_list else [Node(listed.value, listed.mark)]


def split(changes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split overrides into those of `plugins` and the others."""
    own = [text for text in changes if OVERRIDE.match(text)]
    return own, [text for text in changes if not OVERRIDE.match(text)]


def named(texts: Sequence[str]) -> list[Node]:
    """Return entries for the values of `--plugin`."""
    return [Node(text, Mark(f"--plugin {text}")) for text in texts]


def activate(root: Node) -> tuple[Plugin, ...]:
    """Run the plugins of a spec, make their kinds those in use, and write each entry in full. SpecError."""
    listed = root.map.get(PLUGINS)
    if listed is None or listed.value is None or listed.value == []:
        use(())
        return ()
    found = load(_entries(listed.list if listed.is_list else [listed]))
    plugins = tuple(plugin for _, plugin in found)
    use(plugins)
    assert isinstance(root.value, dict)
    root.value[PLUGINS] = Node([_in_full(*one) for one in found], listed.mark, listed.replaced)
    return plugins


def add(root: Node, nodes: Sequence[Node]) -> None:
    """Add entries to the plugins of a spec."""
    assert isinstance(root.value, dict)
    listed = root.value.get(PLUGINS)
    mark = listed.mark if listed is not None else nodes[0].mark
    both = Node([*(listed.list if listed is not None else []), *nodes], mark)
    root.value = {PLUGINS: both} | {key: node for key, node in root.value.items() if key != PLUGINS}
    activate(root)


def _entries(nodes: Sequence[Node]) -> list[Entry]:
    """Parse the entries of `plugins`. SpecError with the problems of all that are malformed."""
    found, problems = [], []
    if len(nodes) > MAX_PLUGINS:
        message = f"`plugins` names {len(nodes):,} files, and {MAX_PLUGINS} are the most"
        raise SpecError(Problem(message, "", nodes[0].mark, PLUGINS))
    for node in nodes:
        fields = node.map if node.is_map else {"": node}
        texts = {key: child.value for key, child in fields.items()}
        names = [key for key in texts if key in {"", "file", "module"}]
        text: Any = texts[names[0]] if len(names) == 1 else None
        digest = texts.get("sha256")
        wrong = texts.keys() - {"", "file", "module", "sha256"} or not isinstance(text, str) or not text
        if wrong or not (digest is None or (isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest))):
            what = f"an entry of `plugins` must be a file or a module, not {shown(node.plain())}"
            problems.append(Problem(what, HOW, node.mark, PLUGINS))
        elif "${" in text:
            what = "`plugins` are read before `vars`, and take no ${...}"
            problems.append(Problem(what, "Write the name of the file.", node.mark, PLUGINS))
        else:
            folder = Path(node.mark.file).parent if node.mark.line else Path.cwd()
            is_module = names[0] == "module" or (names[0] == "" and is_module_name(text))
            found.append(Entry(text, folder.absolute(), node.mark, is_module, digest))
    if problems:
        raise SpecError(*problems)
    return found


def is_module_name(text: str) -> bool:
    """Whether an entry is the name of a module, and not that of a file."""
    return not text.endswith(".py") and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", text) is not None


def _in_full(entry: Entry, plugin: Plugin) -> Node:
    """Return an entry with absolute path and digest, which means one plugin wherever it is read again."""
    value = entry.text if entry.is_module else str(entry.path.absolute())
    fields = {"module" if entry.is_module else "file": value, "sha256": Digest(plugin.digest)}
    return Node({key: Node(text, entry.mark) for key, text in fields.items()}, entry.mark)


def resolved(plugins: Sequence[Plugin]) -> list[dict[str, str]]:
    """Return the section of a resolved spec, which names the copies in its folder."""
    return [{"file": name, "sha256": one.digest} for name, one in copies(plugins).items()]
