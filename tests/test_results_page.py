"""The tables of docs/results.md and README.md that compare.py measured equal the summaries in docs/results/."""

import json
import re
from pathlib import Path

import pytest
from compare_table import Table, cost_table, main_table, number
from tabulate import tabulate

REPO = Path(__file__).resolve().parents[1]
SUMMARIES = sorted((REPO / "docs/results").glob("*.json"))
PAGE = (REPO / "docs/results.md").read_text()
README = (REPO / "README.md").read_text()
# The first and second cell of a summary's row in the README's table.
ROWS = {"shapes_retinanet": ("`shapes`", "RetinaNet R18"), "bccd_balance_200": ("BCCD", "RetinaNet R18")}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def printed(table: Table) -> str:
    return tabulate(table.rows, table.headers, tablefmt="github", disable_numparse=True)


@pytest.fixture(params=SUMMARIES, ids=lambda path: path.stem)
def summary(request):
    return request.param, json.loads(request.param.read_text())


def test_there_are_summaries():
    assert set(ROWS) <= {path.stem for path in SUMMARIES}


def test_the_page_has_the_tables(summary):
    path, content = summary
    assert f"(results/{path.name})" in PAGE
    for task, metric in content["headline"].items():
        assert printed(main_table(content, task, metric)) in PAGE
    assert printed(cost_table(content)) in PAGE


def test_the_page_has_the_command(summary):
    _, content = summary
    # Shells and line ends aside.
    words = set(re.sub(r"[\"'\\`()]", " ", PAGE).split())
    for arm in content["arms"].values():
        assert {*content["command"], *arm["words"]} - {"model.points=[]", "--method"} <= words


@pytest.mark.parametrize("stem", ROWS)
def test_the_readme_has_the_means(stem):
    content = json.loads((REPO / f"docs/results/{stem}.json").read_text())
    data, student = ROWS[stem]
    rows = [cells(line) for line in README.splitlines() if line.startswith("|")]
    (row,) = (row for row in rows if data in row[0] and row[1] == student)
    ((task, metric),) = content["headline"].items()
    columns = dict(zip(("alone", "mimic", "diffkd"), row[4:7], strict=True))
    assert row[3] == number(content["teacher"][task][metric])
    for arm in content["arms"].keys() & columns.keys():
        assert columns[arm] == number(content["arms"][arm]["results"][task][metric]["mean"])
    assert row[7] == str(len(content["seeds"]))
