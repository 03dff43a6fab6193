"""Tables of documents: what would end a cell or start a command in it is text."""

import csv
import io

import pytest

from dlx.errors import DlxError
from dlx.show import forms
from dlx.show.console import TextTable, out
from dlx.show.forms import Number

NAMES = ["a|b", "x_1", "_x_", "50 % & #1", "<b>", "c\\d", '1,"2"', "[link](http://x)", "*", "two\nlines"]


def printed(form, capsys):
    grid = TextTable("name", ">count")
    for i, name in enumerate(NAMES):
        grid.add(name, Number(f"{i * 1000:,}", i * 1000))
    with forms.printed_as(form):
        out("heading_", "bold")
        grid.print()
        out("one\ntwo")
    return capsys.readouterr().out


def test_markdown_escapes_what_it_would_read(capsys):
    text = printed("markdown", capsys)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(NAMES)
    assert all(line.replace(r"\|", "").count("|") == 3 for line in rows)
    assert rows[2] == r"| a\|b | 0 |"
    assert rows[3] == "| x_1 | 1,000 |"
    assert rows[4] == r"| \_x\_ | 2,000 |"
    assert rows[6] == r"| \<b\> | 4,000 |"
    assert text.startswith("**heading\\_**\n\n| name | count |")
    assert text.endswith("|\n\n- one\n- two\n\n")


def test_latex_escapes_its_commands_and_says_what_it_needs(capsys):
    text = printed("latex", capsys)
    assert text.startswith("% heading_\n% \\usepackage{booktabs}\n\\begin{tabular}{lr}\n\\toprule\n")
    assert r"50 \% \& \#1 & 3,000 \\" in text
    assert r"x\_1 & 1,000 \\" in text
    assert text.endswith("\\end{tabular}\n% one\n% two\n")
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert all(line.replace(r"\&", "").count("&") == 1 for line in body)


def test_csv_has_the_numbers_and_the_names_as_they_are(capsys):
    rows = list(csv.reader(io.StringIO(printed("csv", capsys))))
    assert rows[0] == ["name", "count"]
    assert [row[0] for row in rows[1:-1]] == NAMES[:-1]
    assert [row[1] for row in rows[1:]] == [str(i * 1000) for i in range(len(NAMES))]


def test_two_forms_are_a_mistake():
    assert forms.form_of(None, as_json=False) == "table"
    assert forms.form_of("json", as_json=True) == "json"
    with pytest.raises(DlxError, match="`--json` and `--format latex` ask for two forms"):
        forms.form_of("latex", as_json=True)
