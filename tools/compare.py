#!/usr/bin/env python
"""Train one student by several methods and seeds, side by side; report gains, their confidence and their cost.

python tools/compare.py --config-file configs/shapes/diffkd_retinanet_r18.py --methods alone,mimic,diffkd \\
    --seeds 1,2,3 --output output/compare train.max_iter=1000
python tools/compare.py ... --arm strong="model.points.0.weight=9 model.points.1.weight=9"
python tools/report.py output/compare

Options that are not listed here, and key=value overrides, go to train_net.py in every run. A method is what its
`--method` takes; `alone` is the student without a teacher, `alone-longer` the same for the wall time of the costliest
other arm; `--arm NAME=OVERRIDES` is the config with overrides of your own. All arms of a seed start from the same
student weights and see the same images. The command goes on where it was interrupted, trains only what is missing, and
writes compare.json, compare.md and results.csv into the output folder. Where an arm fails, the others are finished and
tabulated, and the exit code is 2.
"""

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from compare_arms import (
    ALONE,
    LONGER,
    Arm,
    config_hash,
    load_arm,
    parse_arms,
    predictions_kept,
    refuse_own_words,
    test_sets,
)
from compare_results import summarise
from compare_runs import Run, RunRefused, measure_cost, read_json, run_all, seconds_per_iteration
from compare_table import write_tables

from diffkd_d2.checkpoint.files import write_json
from diffkd_d2.engine.config import argument_parser, parse_arguments
from diffkd_d2.errors import UserError, one_line_errors


def parse_command_line(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the options of this program, and the words that go to train_net.py."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form, allow_abbrev=False)
    parser.add_argument("--methods", default="", help="alone, alone-longer, or names for --method")
    parser.add_argument("--arm", action="append", default=[], metavar="NAME=OVERRIDES", help="an arm of your own")
    parser.add_argument("--seeds", default="1,2,3", help="whole numbers (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("output/compare"), help="folder of everything it writes")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side; on GPUs one each")
    parser.add_argument(
        "--threads", type=int, default=1, help="threads of each run, for any --jobs (default: %(default)s)"
    )
    args, rest = parser.parse_known_args(words)
    try:
        args.seeds = sorted(int(seed) for seed in args.seeds.split(","))
    except ValueError:
        raise UserError(f"--seeds is '{args.seeds}', expected whole numbers such as 1,2,3") from None
    if len(set(args.seeds)) < len(args.seeds):
        raise UserError(f"--seeds names a seed twice: {args.seeds}")
    for name, value, least in (("seeds", min(args.seeds), 0), ("jobs", args.jobs, 1), ("threads", args.threads, 1)):
        if value < least:
            raise UserError(f"--{name}: {value} is below {least}")
    if args.output.exists() and not args.output.is_dir():
        raise UserError(f"--output: {args.output} is not a folder")
    refuse_own_words(rest)
    return args, rest


def plan(arm: Arm, shared: list[str], args: argparse.Namespace) -> list[Run]:
    """Return the runs of an arm, one for each seed."""
    words = [*shared, *arm.words]
    cfg = load_arm(words)
    if not (cfg.dataloader.get("test") and cfg.dataloader.get("evaluator")):
        raise UserError(f"arm {arm.name} has no test set and evaluator, so there is nothing to compare")
    method = parse_arguments(argument_parser(), words).method
    if arm.name != ALONE and method not in (None, ALONE) and not cfg.model.get("teacher"):
        raise UserError(f"arm {arm.name} would be the student alone: the config has no teacher; name one by --teacher")
    config = config_hash(cfg)
    runs = []
    for seed in args.seeds:
        folder = args.output / arm.name / f"seed_{seed}"
        kept = predictions_kept(cfg, folder / "inference")
        own = [*words, f"train.seed={seed}"]
        runs.append(Run(arm.name, f"seed {seed}", folder, own, kept, cfg.train.max_iter, args.threads, config))
    return runs


def require_equal_tests(arms: list[Arm], shared: list[str]) -> None:
    """Raise UserError if two arms are evaluated on different data."""
    tests = {arm.name: ", ".join(test_sets(load_arm([*shared, *arm.words]))) for arm in arms}
    first = arms[0].name
    for name, sets in tests.items():
        if sets != tests[first]:
            raise UserError(f"arm {name} is evaluated on {sets}, arm {first} on {tests[first]}: nothing to compare")


def plan_teacher(arms: list[Arm], shared: list[str], args: argparse.Namespace) -> list[Run]:
    """Return the evaluation of the teacher; none without a teacher.

    The words that all arms share name it, so that other arms can follow later. Where they name none, the first arm
    with a teacher does.
    """
    for words in (shared, *([*shared, *arm.words] for arm in arms if arm.name != ALONE)):
        cfg = load_arm(words)
        if cfg.model.get("teacher"):
            kept = predictions_kept(cfg, args.output / "teacher" / "inference")
            own = [*words, "--eval-teacher"]
            return [Run("teacher", "", args.output / "teacher", own, kept, 0, args.threads, config_hash(cfg))]
    return []


def longer_arm(arms: list[Arm], shared: list[str], args: argparse.Namespace) -> Arm:
    """Return the arm of the student alone that takes as long as the slowest arm; its length is kept in a file."""
    path = args.output / LONGER / "iterations.json"
    words = next(arm for arm in arms if arm.name == ALONE).words
    if not path.exists():
        lengths = {arm.name: load_arm([*shared, *arm.words]).train.max_iter for arm in arms}
        seconds = {name: n * seconds_per_iteration(args.output / name, args.seeds) for name, n in lengths.items()}
        costliest = max(seconds, key=lambda name: seconds[name])
        ratio = seconds[costliest] / seconds[ALONE]
        iterations = round(lengths[ALONE] * ratio)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"iterations": iterations, "as_long_as": costliest, "ratio": ratio})
    return Arm(LONGER, (*words, f"train.max_iter={read_json(path)['iterations']}"))


def compare(args: argparse.Namespace, shared: list[str]) -> None:
    """Train what is missing, then write the tables."""
    arms = parse_arms(args.methods, args.arm)
    longer = any(arm.name == LONGER for arm in arms)
    arms = [arm for arm in arms if arm.name != LONGER]
    if longer and not any(arm.name == ALONE for arm in arms):
        raise UserError(f"{LONGER} needs {ALONE} among the methods")
    require_equal_tests(arms, shared)
    runs = [run for arm in arms for run in plan(arm, shared, args)]
    teacher = plan_teacher(arms, shared, args)
    # Before anything is measured, which replaces an arm's cost; `claim` follows when every arm has been built once.
    for run in [*teacher, *runs]:
        run.check_folder()
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output: {args.output} cannot be a folder: {error.strerror}") from error
    configs = {run.arm: run.config for run in runs}
    for arm in arms:
        measure_cost(args.output / arm.name, [*shared, *arm.words], args.threads, configs[arm.name])
    # Seed by seed, so that an interrupted comparison has every arm of its first seeds.
    runs.sort(key=lambda run: args.seeds.index(int(run.label.split()[-1])))
    for failure in run_all(teacher, args.jobs, args.threads).values():
        if not isinstance(failure, RunRefused):
            raise failure
        # It may have other classes, or another task, than the student.
        print(f"the teacher is not in the tables: {failure}", flush=True)
    failures = run_all(runs, args.jobs, args.threads)
    if longer and ALONE in failures:
        failures[LONGER] = UserError(f"{ALONE} failed, whose length it takes")
    elif longer:
        longest = longer_arm([arm for arm in arms if arm.name not in failures], shared, args)
        longer_runs = plan(longest, shared, args)
        measure_cost(args.output / LONGER, [*shared, *longest.words], args.threads, longer_runs[0].config)
        failures |= run_all(longer_runs, args.jobs, args.threads)
        arms.append(longest)
    finished = [arm for arm in arms if arm.name not in failures]
    if finished:
        write_tables(args.output, summarise(args.output, finished, shared, args.seeds, args.threads, failures))
        print(f"\n{(args.output / 'compare.md').read_text()}\nwritten to {args.output}")
    if failures:
        raise UserError(f"failed: {', '.join(failures)}; {next(iter(failures.values()))}")


def stop(signum: int, _: Any) -> None:
    """End the program; the runs write their checkpoints."""
    print("stopping; start the same command again to go on", flush=True)
    sys.exit(128 + signum)


def main() -> None:
    """Compare. On Ctrl-C and SIGTERM each run writes a checkpoint and stops."""
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    with one_line_errors():
        args, shared = parse_command_line(sys.argv[1:])
        args.output = Path(os.path.abspath(args.output))
        compare(args, shared)


if __name__ == "__main__":
    main()
