"""The figures of a report that need no model: what the runs logged, and AP by class against alone."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from compare_arms import ALONE
from compare_runs import read_metrics
from compare_table import parts_of
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from report_runs import Member, gradient_ratios, point_names, series

WIDTH = 5.2
MANY = 20  # classes, from which on a panel has a row of its own


def panels(titles: Sequence[str], draw: Callable[[Axes, int], None], columns: int = 2, width: float = WIDTH) -> Figure:
    """Return a figure with a panel with a legend for each title, `width` inches wide."""
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(width * min(columns, len(titles)), 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, min(columns, len(titles)), squeeze=False).flatten()
    for i, axis in enumerate(axes):
        if i < len(titles):
            draw(axis, i)
            axis.set_title(titles[i], fontsize=10)
            axis.grid(alpha=0.3)
            axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))  # inside it would hide bars or curves
        else:
            axis.set_visible(False)
    return figure


def training_figure(members: Sequence[Member]) -> Figure:
    """Return the student's own loss and the learning rate of all runs."""

    def draw(axis: Axes, i: int) -> None:
        for member in members:
            x, y = task_loss(member) if i == 0 else series(member.folder, "lr")
            axis.plot(x, y, label=member.name, marker=marker(x))
        axis.set_xlabel("iteration", fontsize=8)

    return panels(["student's own loss", "learning rate"], draw)


def marker(points: Sequence[int]) -> str | None:
    """Return the marker of a line: few points are shown, and one alone would not be seen without."""
    return "." if len(points) < 20 else None


def task_loss(member: Member) -> tuple[list[int], list[float]]:
    """Return iterations and the sum of the losses that come from no distillation point.

    The total minus the others would be noisy: each logged value is a median of its own.
    """
    distilled = distill_losses(member)
    lines = [line for line in read_metrics(member.folder) if "total_loss" in line]
    own = [[v for k, v in line.items() if k.startswith("loss_") and k not in distilled and v] for line in lines]
    return [line["iteration"] for line in lines], [sum(values) for values in own]


def distill_losses(member: Member) -> dict[str, tuple[list[int], list[float]]]:
    """Return iterations and values of each distillation loss of a run, whose names are `loss_<term>_<point>`."""
    points = "|".join(map(re.escape, point_names(member.folder)))
    keys = series_names(member) if points else []
    return {key: series(member.folder, key) for key in keys if re.fullmatch(f"loss_.+_({points})", key)}


def series_names(member: Member) -> list[str]:
    """Return the names of all metrics of a run."""
    return sorted({key for line in read_metrics(member.folder) for key in line})


def distillation_figures(members: Sequence[Member]) -> list[tuple[str, Figure]]:
    """Return title and figure: distillation losses, gamma and gradient-norm ratios of each run that has them."""
    shown = [m for m in members if point_names(m.folder)]
    figures = []
    for title, collect, log in (
        ("Distillation losses, weighted", distill_losses, True),
        ("gamma by level (1: no noise is added)", _gammas, False),
        ("Gradient norm of each loss in the student, over the task's", _ratios, True),
    ):
        found = {m.name: collect(m) for m in shown}
        found = {name: lines for name, lines in found.items() if lines}
        if found:
            figures.append((title, _lines_figure(found, log)))
    return figures


def _gammas(member: Member) -> dict[str, tuple[list[int], list[float]]]:
    return {k: series(member.folder, k) for k in series_names(member) if k.startswith("gamma_")}


def _ratios(member: Member) -> dict[str, tuple[list[int], list[float]]]:
    return {k: ([i for i, _ in v], [r for _, r in v]) for k, v in gradient_ratios(member.folder).items()}


def _lines_figure(found: dict[str, dict[str, tuple]], log: bool) -> Figure:
    names = list(found)

    def draw(axis: Axes, i: int) -> None:
        for label, (x, y) in found[names[i]].items():
            axis.plot(x, y, label=label, marker=marker(x))
        values = [v for _, y in found[names[i]].values() for v in y]
        if log and min(values) > 0 and max(values) > 10 * min(values):
            axis.set_yscale("log")
        axis.set_xlabel("iteration", fontsize=8)

    return panels(names, draw)


def parts_figure(summary: dict[str, Any], task: str) -> Figure | None:
    """Return each arm's metrics by size and class minus those of the student alone: mean, and a dot for each seed."""
    parts = parts_of(summary, task)
    arms = [name for name in summary["arms"] if name != ALONE]
    most = max((len(metrics) for _, metrics in parts), default=0)
    if ALONE not in summary["arms"] or not parts or not arms:
        return None

    def draw(axis: Axes, i: int) -> None:
        metrics, width = parts[i][1], 0.8 / len(arms)
        base = summary["arms"][ALONE]["results"][task]
        for j, arm in enumerate(arms):
            ours = summary["arms"][arm]["results"][task]
            at = np.arange(len(metrics)) + (j - (len(arms) - 1) / 2) * width
            axis.bar(at, [ours[m]["mean"] - base[m]["mean"] for m in metrics], width, label=arm, alpha=0.8)
            for seed in map(str, summary["seeds"]):
                dots = [ours[m]["seeds"][seed] - base[m]["seeds"][seed] for m in metrics]
                axis.plot(at, dots, "k.", markersize=3)
        axis.axhline(0, color="k", linewidth=0.8)
        names, size = [m.split("-", 1)[-1] for m in metrics], 8 if most <= MANY else 6
        axis.set_xticks(range(len(metrics)), names, rotation=40 if most <= MANY else 90, ha="right", fontsize=size)

    titles = [f"{task}, {name}: difference to alone" for name, _ in parts]
    return panels(titles, draw, columns=2 if most <= MANY else 1, width=WIDTH if most <= MANY else 0.16 * most + 4)
