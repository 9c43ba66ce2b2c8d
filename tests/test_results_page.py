"""The tables in docs/results.md, its pages and README.md equal the summaries that compare.py wrote."""

import json
import re
from pathlib import Path

import pytest
from compare_table import Table, cost_table, main_table, number
from tabulate import tabulate

REPO = Path(__file__).resolve().parents[1]
SUMMARIES = sorted((REPO / "docs/results").glob("*.json"))
OVERVIEW = (REPO / "docs/results.md").read_text()
PAGES = "\n".join(path.read_text() for path in sorted((REPO / "docs/results").glob("*.md")))
README = (REPO / "README.md").read_text()
# The first and second cell of a summary's row in the README's table.
ROWS = {
    "shapes_retinanet": ("`shapes`", "RetinaNet R18"),
    "shapes_faster_rcnn_500": ("`shapes`", "Faster R-CNN R18"),
    "shapes_panoptic_fpn_300": ("`shapes`", "PanopticFPN R18"),
    "bccd_best_200": ("200 iterations", "RetinaNet R18"),
    "bccd_mobilenetv2_1600": ("1,600 iterations", "RetinaNet R18"),
}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def printed(table: Table) -> str:
    return tabulate(table.rows, table.headers, tablefmt="github", disable_numparse=True)


def diffkd_arm(summary: dict) -> str | None:
    """Return the arm of the column "DiffKD"."""
    return next((name for name in ("diffkd", "diffkd-balance-5") if name in summary["arms"]), None)


@pytest.fixture(params=SUMMARIES, ids=lambda path: path.stem)
def summary(request):
    return request.param, json.loads(request.param.read_text())


def test_there_are_summaries():
    assert set(ROWS) <= {path.stem for path in SUMMARIES}


def test_the_pages_have_the_tables(summary):
    path, content = summary
    assert f"({path.name})" in PAGES
    for task, metric in content["headline"].items():
        assert printed(main_table(content, task, metric)) in PAGES
    assert printed(cost_table(content)) in PAGES


def test_the_pages_have_the_command(summary):
    _, content = summary
    # Shells and line ends aside.
    words = set(re.sub(r"[\"'\\`()]", " ", PAGES).split())
    for arm in content["arms"].values():
        assert {*content["command"], *arm["words"]} - {"model.points=[]", "--method"} <= words


def test_the_overview_has_the_means(summary):
    path, content = summary
    (row,) = (cells(line) for line in OVERVIEW.splitlines() if f"(results/{path.name})" in line and line[0] == "|")
    task, metric = next(iter(content["headline"].items()))
    means = {name: arm["results"][task][metric]["mean"] for name, arm in content["arms"].items()}
    diffkd = diffkd_arm(content)
    others = {name: mean for name, mean in means.items() if not name.startswith(("alone", "mimic", "diffkd"))}
    best = max(others, key=lambda name: others[name], default=None)
    assert row[2:] == [
        str(content["arms"]["alone"]["iterations"]),
        str(len(content["seeds"])),
        number(content["teacher"][task][metric]),
        number(means["alone"]),
        number(means["mimic"]) if "mimic" in means else "",
        number(means[diffkd]) if diffkd else "",
        f"{best} {number(others[best])}" if best else "",
    ]


@pytest.mark.parametrize("stem", ROWS)
def test_the_readme_has_the_means(stem):
    content = json.loads((REPO / f"docs/results/{stem}.json").read_text())
    data, student = ROWS[stem]
    rows = [cells(line) for line in README.splitlines() if line.startswith("|")]
    (row,) = (row for row in rows if data in row[0] and row[1] == student)
    task, metric = next(iter(content["headline"].items()))
    assert row[3] == number(content["teacher"][task][metric])
    for arm, cell in zip(("alone", "mimic", diffkd_arm(content)), row[4:7], strict=True):
        assert cell == number(content["arms"][arm]["results"][task][metric]["mean"])
    assert row[7] == str(len(content["seeds"]))
