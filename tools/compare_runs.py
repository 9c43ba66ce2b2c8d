"""Start the runs of a comparison, side by side and again after an interruption, and follow them."""

import fcntl
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import torch
from compare_arms import quoted

from diffkd_d2.checkpoint.files import write_json
from diffkd_d2.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
PROGRESS_PERIOD = 30.0


class RunRefused(UserError):
    """A run that ended with a one-line error of its own (exit code 2)."""


@dataclass(frozen=True)
class Run:
    """One call of train_net.py.

    `words`, `threads` and `config`, the config's hash, decide its numbers and are recorded in `words.json`; `places`
    only say where its files go. A run is finished where it has left its results.
    """

    arm: str
    label: str
    folder: Path
    words: list[str]
    places: list[str]
    iterations: int
    threads: int
    config: str = ""

    @property
    def name(self) -> str:
        return f"{self.arm} {self.label}".strip()

    @property
    def arguments(self) -> dict[str, Any]:
        """What `words.json` records."""
        return {"words": self.words, "threads": self.threads, "config": self.config}

    @property
    def results(self) -> Path:
        return self.folder / ("results_teacher.json" if "--eval-teacher" in self.words else "results.json")

    @property
    def command(self) -> list[str]:
        script = [sys.executable, str(ROOT / "train_net.py"), *self.words, *self.places]
        return [*script, f"train.output_dir={quoted(self.folder)}", "--resume"]

    def check_folder(self) -> bool:
        """Return whether the folder records this run; False if it is empty or not there.

        Raises:
            UserError: if the folder holds something else.
        """
        record = self.folder / "words.json"
        if record.exists():
            made_by = recorded(record, self.arguments)
            if made_by == {**self.arguments, "config": made_by["config"]} != self.arguments:
                raise UserError(
                    f"{self.folder} was made with another config or other files, such as weights, of the same names: "
                    "choose another --output"
                )
            if made_by != self.arguments:
                raise UserError(
                    f"{self.folder} was made by {made_by}, not by {self.arguments}: choose another --output"
                )
            return True
        if self.folder.exists() and any(self.folder.iterdir()):
            raise UserError(f"{self.folder} holds files that compare.py did not make: choose another --output")
        return False

    def claim(self) -> None:
        """Record the arguments in the folder, if it does not have them.

        Raises:
            UserError: as `check_folder`.
        """
        if not self.check_folder():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / "words.json", self.arguments)

    def done(self) -> int:
        """Return the number of finished iterations."""
        if self.results.exists():
            return self.iterations
        return next((line["iteration"] + 1 for line in reversed(read_metrics(self.folder)) if "iteration" in line), 0)


@contextmanager
def locked(run: Run) -> Iterator[int]:
    """Wait until no process works on a run; yield the lock, which a process keeps that inherits it.

    A killed compare.py leaves its runs at work.
    """
    with open(run.folder.with_name(run.folder.name + ".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another process is at work on {run.name}; waiting for its end", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


class Process:
    """A running process, which holds its run's lock until it ends."""

    def __init__(self, run: Run, environment: dict[str, str], slot: int, lock: int):
        self.run, self.slot = run, slot
        self.output: IO[bytes] = open(run.folder / "output.txt", "ab")
        self.process = subprocess.Popen(
            run.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[lock],
        )

    def ended(self) -> bool:
        """Return whether the run has ended, well or not."""
        if self.process.poll() is None:
            return False
        self.output.close()
        return True

    def failure(self) -> UserError | None:
        """Return why an ended run has no results: RunRefused if it said why itself. None if it has them."""
        code = self.process.poll()
        if not code and self.run.results.exists():
            return None
        lines = (self.run.folder / "output.txt").read_text(errors="replace").strip().splitlines()
        last = lines[-1].removeprefix("error: ") if lines else ""
        kind = RunRefused if code == 2 else UserError
        return kind(f"{self.run.name} ended with code {code}: {last} ({self.run.folder / 'output.txt'})")

    def stop(self) -> None:
        """Stop the run by SIGTERM; it writes a checkpoint."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def environment_of(threads: int, slot: int | None = None) -> dict[str, str]:
    """Return the environment of a run: a fixed number of threads, and where there are GPUs the slot's own."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    count = torch.cuda.device_count()
    if slot is not None and count > 1:
        given = environment.get("CUDA_VISIBLE_DEVICES", "")
        devices = given.split(",") if given else [str(i) for i in range(count)]
        environment["CUDA_VISIBLE_DEVICES"] = devices[slot % count]
    return environment


def run_all(runs: list[Run], jobs: int, threads: int) -> dict[str, UserError]:
    """Run what is not finished, at most `jobs` at a time; return the first failure of each arm that failed.

    The waiting runs of a failed arm are not started; other arms go on.

    Raises:
        UserError: if a folder is not this comparison's.
    """
    for run in runs:
        run.claim()
    failures: dict[str, UserError] = {}
    waiting = [run for run in runs if not run.results.exists()]
    running: list[Process] = []
    told = time.monotonic()
    try:
        while waiting or running:
            for slot in sorted(set(range(jobs)) - {p.slot for p in running})[: len(waiting)]:
                run = waiting.pop(0)
                with locked(run) as lock:
                    if run.results.exists():
                        continue
                    environment = environment_of(threads, slot if jobs > 1 else None)
                    running.append(Process(run, environment, slot, lock))
                print(f"started {run.name}; {_progress(runs, jobs)}", flush=True)
            ended = [process for process in running if process.ended()]
            running = [process for process in running if process not in ended]
            for process in ended:
                failure = process.failure()
                if failure and process.run.arm not in failures:
                    print(f"arm {process.run.arm} failed: {failure}", flush=True)
                    failures[process.run.arm] = failure
            waiting = [run for run in waiting if run.arm not in failures]
            runs = [run for run in runs if run.arm not in failures]
            if time.monotonic() - told > PROGRESS_PERIOD:
                print(_progress(runs, jobs), flush=True)
                told = time.monotonic()
            time.sleep(0.2)
    finally:
        for process in running:
            process.stop()
    return failures


def _progress(runs: list[Run], jobs: int) -> str:
    """Return a text on the finished share of all runs and the remaining time."""
    done = [run.done() for run in runs]
    left = sum(
        (run.iterations - n) * read_cost(run.folder.parent)["step_seconds"]
        for run, n in zip(runs, done, strict=True)
        if n < run.iterations
    )
    finished = sum(run.results.exists() for run in runs)
    total = max(sum(run.iterations for run in runs), 1)
    eta = timedelta(seconds=round(left / jobs))
    return f"{finished} of {len(runs)} runs finished, {100 * sum(done) / total:.0f}% of the iterations, ETA {eta}"


def measure_cost(folder: Path, words: list[str], threads: int, config: str) -> None:
    """Measure what a step of an arm costs, alone on the machine, unless that was done so; it also tries the arm.

    Raises:
        UserError: if the arm cannot be built.
    """
    path, record = folder / "cost.json", folder / "cost_words.json"
    ours = {"words": words, "threads": threads, "config": config}
    if path.exists() and record.exists() and recorded(record, ours) == ours:
        return
    folder.mkdir(parents=True, exist_ok=True)
    print(f"measuring a step of {folder.name}", flush=True)
    command = [sys.executable, str(ROOT / "tools" / "compare_cost.py"), "--json", str(path), *words]
    run = subprocess.run(command, env=environment_of(threads), capture_output=True, text=True, check=False)
    if run.returncode:
        lines = run.stderr.strip().splitlines() or ["no message"]
        if run.returncode != 2:
            print(run.stderr, file=sys.stderr)
        raise UserError(f"arm {folder.name}: {lines[-1].removeprefix('error: ')}")
    write_json(record, ours)


def recorded(path: Path, ours: dict[str, Any]) -> dict[str, Any]:
    """Return a record of arguments; what an older record does not have is taken to be as `ours`."""
    return {**ours, **read_json(path)}


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        UserError: if it is no JSON.
    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from error


def read_cost(folder: Path) -> dict[str, Any]:
    """Return what `measure_cost` found for the arm in `folder`."""
    return read_json(folder / "cost.json")


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a metrics.json that may still be written.

    Raises:
        UserError: if a line is damaged that is not the last.
    """
    path = folder / "metrics.json"
    texts = path.read_text(errors="replace").splitlines() if path.exists() else []
    lines: list[dict[str, Any]] = []
    for number, text in enumerate(texts, start=1):
        try:
            lines.append(dict(json.loads(text)))
        except (ValueError, TypeError) as error:
            if number < len(texts):
                raise UserError(f"{path} is damaged in line {number}: {error}") from error
    return lines


def seconds_per_iteration(folder: Path, seeds: list[int]) -> float:
    """Return the median wall time of an iteration over the seeds of an arm, as its runs logged it."""
    times = [line["time"] for s in seeds for line in read_metrics(folder / f"seed_{s}") if "time" in line]
    return statistics.median(times) if times else read_cost(folder)["step_seconds"]
