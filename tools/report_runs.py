"""Read the runs of a report: comparisons of compare.py and single output folders of train_net.py."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from compare_arms import test_sets
from compare_results import read_tasks
from compare_runs import read_json, read_metrics
from compare_table import Table, number
from omegaconf import DictConfig

from diffkd_d2.errors import UserError

_GRADIENTS = re.compile(r"gradient norms in the student\b.* at iteration (\d+)")


@dataclass(frozen=True)
class Member:
    """One line of the report's curves and pictures: an output folder and the words of train_net.py behind it."""

    name: str
    folder: Path
    words: list[str]  # empty where they are not known: there are no pictures then


@dataclass(frozen=True)
class Group:
    """One OUTPUT of the command line: a comparison with its summary, or a single run."""

    folder: Path
    summary: dict[str, Any] | None
    members: list[Member]

    @property
    def name(self) -> str:
        return self.folder.name if self.summary else self.members[0].name

    @property
    def teacher(self) -> Path:
        return self.folder / "teacher"


def read_group(folder: Path, words: list[str]) -> Group:
    """Return what lies in a folder.

    Args:
        folder: of compare.py or of train_net.py.
        words: of train_net.py for a single run, such as `--config-file`; may be empty.

    Raises:
        UserError: if it is neither.
    """
    if (folder / "compare.json").exists():
        summary = read_json(folder / "compare.json")
        if not {"seeds", "arms", "command", "headline"} <= set(summary):
            raise UserError(f"{folder / 'compare.json'} is not what compare.py writes")
        seed = summary["seeds"][0]
        members = [
            Member(name, folder / name / f"seed_{seed}", [*summary["command"], *arm["words"], f"train.seed={seed}"])
            for name, arm in summary["arms"].items()
        ]
        return Group(folder, summary, members)
    if (folder / "metrics.json").exists():
        return Group(folder, None, [Member(f"{folder.parent.name}/{folder.name}", folder, words)])
    if next(folder.glob("*/seed_*/words.json"), None):
        raise UserError(f"{folder}: this comparison has not finished; start its compare.py command again")
    raise UserError(f"{folder} holds neither compare.json nor metrics.json")


def require_same_test_data(folder: Path, cfg: DictConfig) -> None:
    """Compare the names of a config's test sets with those in the `config.yaml` of a run.

    Raises:
        UserError: if they differ, so that the run's predictions are of other images.
    """
    path = folder / "config.yaml"
    if not path.exists():
        return
    of_run, given = (test_sets(node) for node in (yaml.load(path.read_text(), _PlainLoader), cfg))
    if of_run != given:
        raise UserError(f"{folder} was evaluated on {', '.join(of_run)}; --config-file has {', '.join(given)}")


class _PlainLoader(yaml.SafeLoader):
    """Read a config.yaml without building the objects in it."""


_PlainLoader.add_multi_constructor("", lambda loader, suffix, node: None)


def results_table(member: Member) -> Table:
    """Return the results of a single run as they stand in its results.json."""
    path = member.folder / "results.json"
    results = read_tasks(path) if path.exists() else {}
    rows = [[task, metric, number(value, 2)] for task, values in results.items() for metric, value in values.items()]
    return Table(f"Results of {member.name}", ["task", "metric", "value"], rows)


def point_names(folder: Path) -> list[str]:
    """Return the names of a run's distillation points, as its losses have them."""
    keys = {key for line in read_metrics(folder)[:1] for key in line}
    return sorted(key.removeprefix("loss_kd_") for key in keys if key.startswith("loss_kd_"))


def series(folder: Path, key: str) -> tuple[list[int], list[float]]:
    """Return iterations and values of one metric of a run."""
    lines = [line for line in read_metrics(folder) if key in line and line[key] is not None]
    return [line["iteration"] for line in lines], [line[key] for line in lines]


def gradient_ratios(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return, for each loss of the log's gradient reports, iteration and norm over the task's."""
    ratios: dict[str, list[tuple[int, float]]] = {}
    iteration = None
    path = folder / "log.txt"
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        found = _GRADIENTS.search(line)
        if found:
            iteration = int(found[1])
        elif iteration is not None:
            cells = re.fullmatch(r"(loss_\S+|all of them)\s+\S+\s+\S+\s+(\S+)", line.strip())
            if cells:
                ratios.setdefault(cells[1], []).append((iteration, float(cells[2])))
            elif line.startswith("["):
                iteration = None
    return ratios
