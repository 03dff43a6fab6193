"""Names are the field's terms: none holds a word for which the glossary has another."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "dlx"
WORDS = (
    "told|given|patient|kept|drawn|reach|chance|course|stretch|lane|shelf|shelve|gap|manner|furnish|settle|discord|crown|"
    "bury|listen|heard"
)
OF_ANOTHER_FIELD = ("time_stretch",)
"""What holds such a word, and is the term for it: of waves played slower at their pitch."""
NOT_THE_FIELDS = re.compile(rf"(^|_)({WORDS})(s|ed|es|d|ing)?(_|$)")


def names_in(text: str) -> Iterator[tuple[str, int]]:
    """The names that a module binds, with their lines."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name, node.lineno
            case ast.arg(arg=name):
                yield name, node.lineno
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.alias(asname=str(name)):
                yield name, node.lineno


def is_odd(name: str) -> bool:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return words not in OF_ANOTHER_FIELD and NOT_THE_FIELDS.search(words) is not None


def test_no_name_holds_a_word_that_the_glossary_replaces():
    odd = [
        f"{path.relative_to(PACKAGE)}:{line} {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for name, line in ((path.stem, 0), *names_in(path.read_text()))
        if is_odd(name)
    ]

    assert odd == [], "docs/architecture.md has the terms"


def test_the_search_finds_such_names():
    text = "class KeptMask: ...\ndef f(given): ...\ntold = 1\na.drawn = 2\nimport a as lanes\nforgiven = 3\n"

    assert {name for name, _ in names_in(text) if is_odd(name)} == {"KeptMask", "told", "lanes", "given", "drawn"}
