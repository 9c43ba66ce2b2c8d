"""Loads every file of the hostile corpus in one process and measures it."""

import json
import sys
import time
from pathlib import Path

from hostile import make_corpus, small_net

from diffkd_d2.checkpoint.checkpointer import Checkpointer
from diffkd_d2.errors import UserError
from diffkd_d2.modeling.teacher import load_teacher


def judge(path: Path, role: str) -> str:
    """Load a file as teacher, as the student's initial weights or by `--resume`; return the line of the error."""
    try:
        if role == "teacher":
            load_teacher(small_net(), str(path))
        elif role == "student":
            Checkpointer(small_net()).load(str(path))
        else:
            pointer = path.parent / "last_checkpoint"
            pointer.write_text(path.name)
            Checkpointer(small_net(), str(path.parent)).resume()
    except UserError as error:
        return str(error)
    return ""


def peak_mb(reset: bool = False) -> float:
    """Return the most memory that this process has held since the last reset, in MB.

    `getrusage` does not serve: its maximum includes the process that started this one.
    """
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3


def main() -> None:
    """Judge the corpus in this process and print what came of it as JSON: `python judge_hostile.py FOLDER ROLE`."""
    folder, role = Path(sys.argv[1]), sys.argv[2]
    report = []
    for name, path in make_corpus(folder, folder / "canary"):
        if role == "resume" and path.suffix == ".pkl":
            continue
        before, start = peak_mb(reset=True), time.monotonic()
        line = judge(path, role)
        seconds = time.monotonic() - start
        ran = (folder / "canary").exists() or Path("/tmp/escaped").exists()
        report.append(dict(name=name, line=line, seconds=seconds, ran=ran, more_mb=peak_mb() - before))
        path.unlink()
    print(json.dumps(report))


if __name__ == "__main__":
    main()
