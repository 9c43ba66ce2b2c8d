"""Read the runs of a comparison and summarise them as the content of compare.json."""

import os
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compare_arms import ALONE, LONGER, MIMIC, Arm, choose_last_test_set, evaluator_nodes, keeps_predictions, load_arm
from compare_runs import read_cost, read_json, seconds_per_iteration
from detectron2.evaluation import COCOEvaluator
from intervals import draw_images, percentile_interval, resampled_ap, t_interval

from diffkd_d2.engine.evaluators import instantiate_evaluator
from diffkd_d2.errors import UserError

# The metric that stands for a task; `_ema` tasks have the same.
HEADLINE = {"bbox": "AP", "segm": "AP", "keypoints": "AP", "sem_seg": "mIoU", "panoptic_seg": "PQ", "cls": "top1"}
BASELINES = (ALONE, MIMIC)
RESAMPLES = 1000
DETECTIONS = "coco_instances_results.json"  # of COCO's evaluator

Results = dict[str, dict[str, dict[str, float]]]  # task -> metric -> seed -> value


def headline(task: str, metrics: list[str]) -> str:
    """Return the metric that stands for a task."""
    metric = HEADLINE.get(_kind(task), metrics[0])
    return metric if metric in metrics else metrics[0]


def _kind(task: str) -> str:
    """Return what a task measures, without its test set and `_ema`."""
    return task.rpartition("/")[2].removesuffix("_ema")


def read_tasks(path: Path) -> dict[str, dict[str, float | None]]:
    """Return task -> metric -> value of a results.json; of several test sets the task is `<set>/<task>`."""
    tasks: dict[str, dict[str, float | None]] = {}
    for name, content in read_json(path).items():
        if any(isinstance(value, dict) for value in content.values()):
            tasks |= {f"{name}/{task}": metrics for task, metrics in content.items()}
        else:
            tasks[name] = content
    return tasks


def summarise(
    output: Path, arms: list[Arm], shared: list[str], seeds: list[int], threads: int, failures: dict[str, UserError]
) -> dict[str, Any]:
    """Return the content of the tables.

    Args:
        output: the comparison's folder.
        arms: in the order of the tables, with every run finished.
        shared: words that all arms had on train_net.py's command line.
        seeds: of each arm.
        threads: of each run.
        failures: why other arms are not in the tables, by their names.
    """
    cfg = load_arm([*shared, *arms[0].words])
    results = read_results(output, [arm.name for arm in arms], seeds)
    teacher = output / "teacher" / "results_teacher.json"
    lengths = {arm.name: load_arm([*shared, *arm.words]).train.max_iter for arm in arms}
    costs = {arm.name: read_cost(output / arm.name) for arm in arms}
    tasks = next(iter(results.values()))
    longer = output / LONGER / "iterations.json"
    return {
        "command": shared,
        "seeds": seeds,
        "threads": threads,
        "cpus": os.cpu_count(),
        "trained_on": trained_on(output, list(results), seeds),
        "cost_measured_on": sorted({cost.get("device", "unknown") for cost in costs.values()}),
        "torch": torch.__version__,
        "headline": {task: headline(task, list(metrics)) for task, metrics in tasks.items()},
        "teacher": read_tasks(teacher) if teacher.exists() else None,
        "failures": {name: str(failure) for name, failure in failures.items()},
        "longer": read_json(longer) if LONGER in results else None,
        "same_start": len({cost["student_hash"] for cost in costs.values()}) == 1,
        "arms": {
            arm.name: {
                "words": list(arm.words),
                "iterations": lengths[arm.name],
                "results": {t: {m: _spread(v) for m, v in ms.items()} for t, ms in results[arm.name].items()},
                "cost": {
                    **costs[arm.name],
                    "seconds_per_iteration": seconds_per_iteration(output / arm.name, seeds),
                },
            }
            for arm in arms
        },
        "differences": differences(results, image_samples(output, cfg, results, seeds)),
    }


def read_results(output: Path, arms: list[str], seeds: list[int]) -> dict[str, Results]:
    """Return the results of each arm: task -> metric -> seed -> value.

    A metric that no run has is left out. Where one run has it and another does not, that one found nothing: 0.
    """
    raw = {arm: {str(s): read_tasks(output / arm / f"seed_{s}" / "results.json") for s in seeds} for arm in arms}
    runs = [run for of_seeds in raw.values() for run in of_seeds.values()]
    metrics: dict[str, dict[str, None]] = {}
    for task, values in (pair for run in runs for pair in run.items()):
        metrics.setdefault(task, {}).update({k: None for k, v in values.items() if v is not None})
        metrics[task].setdefault(HEADLINE.get(_kind(task), next(iter(values))), None)
    return {
        arm: {
            task: {m: {s: run.get(task, {}).get(m) or 0.0 for s, run in of_seeds.items()} for m in names}
            for task, names in metrics.items()
        }
        for arm, of_seeds in raw.items()
    }


def trained_on(output: Path, arms: list[str], seeds: list[int]) -> list[str]:
    """Return the names of the devices that the runs trained on, which need not be this machine's."""
    files = (output / arm / f"seed_{s}" / "run.json" for arm in arms for s in seeds)
    return sorted({name for file in files if file.exists() for name in read_json(file).get("devices", ["unknown"])})


def _spread(values: dict[str, float]) -> dict[str, Any]:
    numbers = list(values.values())
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else None
    return {"seeds": values, "mean": statistics.fmean(numbers), "std": deviation}


def predictions_of(run: Path, name: str) -> Path:
    """Return the file of this name that an evaluator of a run wrote last; it need not exist."""
    folder = run / "inference"  # in which a project's evaluator may make folders of its own
    return max(folder.rglob(name), key=lambda path: path.stat().st_mtime, default=folder / name)


def image_samples(
    output: Path, cfg: Any, arms: dict[str, Results], seeds: list[int]
) -> dict[str, dict[str, np.ndarray]]:
    """Return, for each task that COCO's evaluator measures, AP of each arm on samples of the images.

    Each value is (B,), the mean over the seeds; all arms and seeds see the same samples.
    """
    samples: dict[str, dict[str, np.ndarray]] = {}
    files = {arm: [predictions_of(output / arm / f"seed_{s}", DETECTIONS) for s in seeds] for arm in arms}
    if not all(file.exists() for of_arm in files.values() for file in of_arm):
        return samples
    prefix = choose_last_test_set(cfg)
    for node in evaluator_nodes(cfg).values():
        if not keeps_predictions(node):
            continue
        node.output_dir = str(output / "inference")
        for evaluator in instantiate_evaluator(node):
            if not isinstance(evaluator, COCOEvaluator):
                continue
            counts = draw_images(len(evaluator._coco_api.getImgIds()), RESAMPLES)
            # Without tasks of its own, Detectron2's evaluator measures what is predicted.
            tasks = evaluator._tasks or {_kind(task) for task in next(iter(arms.values()))}
            for task in {"bbox", "segm"}.intersection(tasks):
                # The average is evaluated last, and overwrites the student's file.
                samples[average_task(prefix, task) if cfg.train.ema_decay else f"{prefix}{task}"] = {
                    arm: np.mean([resampled_ap(evaluator, file, task, counts) for file in of_arm], axis=0)
                    for arm, of_arm in files.items()
                }
    return samples


def average_task(prefix: str, task: str) -> str:
    """Return the name of the average's task: of several test sets, `evaluate_with_average` renames the set."""
    return f"{prefix.removesuffix('/')}_ema/{task}" if prefix else f"{task}_ema"


def differences(results: dict[str, Results], samples: dict[str, dict[str, np.ndarray]]) -> list[dict[str, Any]]:
    """Return the paired difference of each arm to each baseline, for the headline metric of each task."""
    rows = []
    for task, metrics in next(iter(results.values())).items():
        metric = headline(task, list(metrics))
        for baseline in (b for b in BASELINES if b in results):
            for arm in (a for a in results if a != baseline):
                ours, theirs = results[arm][task][metric], results[baseline][task][metric]
                paired = {seed: ours[seed] - theirs[seed] for seed in ours}
                images = samples.get(task)
                rows.append(
                    {
                        **dict(task=task, metric=metric, arm=arm, baseline=baseline, seeds=paired),
                        "mean": statistics.fmean(paired.values()),
                        "t_interval": t_interval(list(paired.values())),
                        "image_interval": percentile_interval(images[arm] - images[baseline]) if images else None,
                    }
                )
    return rows
