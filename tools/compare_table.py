"""The tables of a comparison, as cells of text, for compare.md, results.csv and the report."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from diffkd_d2.checkpoint.files import write_json

SIZES = ("APs", "APm", "APl")


@dataclass(frozen=True)
class Table:
    """Cells as they are printed; `note` says what the columns are."""

    title: str
    headers: list[str]
    rows: list[list[str]]
    note: str = ""


def number(value: float | None, digits: int = 1, sign: bool = False) -> str:
    """Return a number as the tables print it; an empty cell for None."""
    if value is None:
        return ""
    value = round(value, digits) + 0.0  # no "-0.0"
    return f"{value:{'+' if sign else ''}.{digits}f}"


def interval(bounds: list[float] | None) -> str:
    """Return an interval as the tables print it; "-0.0" is a bound below 0, "+0.0" one of at least 0."""
    return "" if bounds is None else " to ".join(f"{bound:+.1f}" for bound in bounds)


def tables(summary: dict[str, Any]) -> list[Table]:
    """Return all tables of what `summarise` returned."""
    made = []
    for task, metric in summary["headline"].items():
        made.append(main_table(summary, task, metric))
        made += [parts_table(summary, task, *part) for part in parts_of(summary, task)]
    return [*made, cost_table(summary)]


def main_table(summary: dict[str, Any], task: str, metric: str) -> Table:
    """Return metric and certainty of each arm."""
    baselines = list(dict.fromkeys(d["baseline"] for d in summary["differences"]))
    images = any(d["image_interval"] for d in summary["differences"] if d["task"] == task)
    headers = ["arm", f"{metric}, mean", "std", *(f"seed {s}" for s in summary["seeds"])]
    for baseline in baselines:
        headers += [f"over {baseline}", "95%, seeds", *(["95%, images"] if images else [])]
    rows = []
    if summary["teacher"]:
        rows.append(["teacher", teacher_cell(summary, task, metric), *[""] * (len(headers) - 2)])
    for arm, content in summary["arms"].items():
        spread = content["results"][task][metric]
        cells = [arm, number(spread["mean"]), number(spread["std"]), *map(number, spread["seeds"].values())]
        for baseline in baselines:
            found = [d for d in summary["differences"] if (d["task"], d["arm"], d["baseline"]) == (task, arm, baseline)]
            of = found[0] if found else {"mean": None, "t_interval": None, "image_interval": None}
            cells += [number(of["mean"], sign=True), interval(of["t_interval"])]
            cells += [interval(of["image_interval"])] if images else []
        rows.append(cells)
    note = "Differences are paired by seed; the intervals are a paired t interval over seeds"
    note += " and a bootstrap over images." if images else "."
    return Table(f"{task}: {metric}", headers, rows, note)


def teacher_cell(summary: dict[str, Any], task: str, metric: str) -> str:
    """Return a metric of the teacher: 0 where it found nothing, as a student; empty where it was not measured."""
    found = summary["teacher"].get(task, {})
    return number(found[metric] or 0.0) if metric in found else ""


def parts_of(summary: dict[str, Any], task: str) -> list[tuple[str, list[str]]]:
    """Return the metrics by size and by class of a task, where it has them."""
    metrics = list(next(iter(summary["arms"].values()))["results"][task])
    sizes = [m for m in metrics if m in SIZES]
    classes = [m for m in metrics if m.startswith(("AP-", "IoU-"))]
    return [(name, group) for name, group in (("by size", sizes), ("by class", classes)) if group]


def parts_table(summary: dict[str, Any], task: str, name: str, metrics: list[str]) -> Table:
    """Return the mean over the seeds of each metric."""
    rows = []
    if summary["teacher"]:
        rows.append(["teacher", *(teacher_cell(summary, task, m) for m in metrics)])
    for arm, content in summary["arms"].items():
        rows.append([arm, *(number(content["results"][task][m]["mean"]) for m in metrics)])
    return Table(f"{task}, {name}", ["arm", *metrics], rows, "Mean over the seeds.")


def cost_table(summary: dict[str, Any]) -> Table:
    """Return what each arm costs."""
    headers = ["arm", "iterations", "s / iteration", "time / floor", "memory / floor"]
    headers += ["M parameters trained", "of it, distiller"]
    rows = []
    for arm, content in summary["arms"].items():
        cost = content["cost"]
        students, distillers = (cost[f"{part}_parameters"] / 1e6 for part in ("student", "distiller"))
        rows.append(
            [
                *(arm, str(content["iterations"]), number(cost["seconds_per_iteration"], 3)),
                *(number(cost["time_over_floor"], 2), number(cost["memory_over_floor"], 2)),
                *(number(students + distillers, 2), number(distillers, 2)),
            ]
        )
    threads = f"{summary['threads']} thread(s) a run"
    trained, measured = (  # not in older summaries
        ", ".join(summary.get(key) or ["unknown"]) for key in ("trained_on", "cost_measured_on")
    )
    note = (
        f"Seconds are of the runs' own clock, the median over the seeds; trained on {trained}. The floor is the "
        "student's step plus the teacher's forward pass as far as the arm needs it, measured before training on "
        f"{measured}, {threads}."
    )
    if summary["longer"]:
        note += f" alone-longer has as many iterations as fit into the time of {summary['longer']['as_long_as']}."
    return Table("cost", headers, rows, note)


def failure_lines(summary: dict[str, Any]) -> list[str]:
    """Return a line for each arm that is not in the tables because it failed."""
    failures = summary.get("failures", {})  # not in older summaries
    return [f"{name} is NOT in the tables: {failure}" for name, failure in failures.items()]


def markdown(summary: dict[str, Any]) -> str:
    """Return compare.md."""
    lines = ["# Comparison", "", f"`{' '.join(summary['command'])}`, seeds {', '.join(map(str, summary['seeds']))}"]
    if not summary["same_start"]:
        lines += ["", "The arms do NOT start from the same student weights: the students are built differently."]
    for line in failure_lines(summary):
        lines += ["", line]
    for table in tables(summary):
        cells = tabulate(table.rows, table.headers, tablefmt="github", disable_numparse=True)
        lines += ["", f"## {table.title}", "", cells, "", table.note]
    return "\n".join(lines) + "\n"


def write_tables(output: Path, summary: dict[str, Any]) -> None:
    """Write compare.json, compare.md and results.csv, one line for each arm, seed, task and metric."""
    write_json(output / "compare.json", summary)
    (output / "compare.md").write_text(markdown(summary))
    with open(output / "results.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["arm", "seed", "task", "metric", "value"])
        for arm, content in summary["arms"].items():
            for task, metrics in content["results"].items():
                for metric, spread in metrics.items():
                    writer.writerows([arm, seed, task, metric, value] for seed, value in spread["seeds"].items())
