"""compare.py whose runs and measurements are forks of its own: `forked_compare.py ARGUMENTS`.

A run keeps what it has of a process: its environment, output, exit code and lock. Saved are six seconds of imports.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

from quick_start import take_environment

REPO = Path(__file__).resolve().parents[2]
FORK = multiprocessing.get_context("fork")


class Fork:
    """A script in a fork of this process; it answers as `subprocess.Popen` does."""

    def __init__(self, command: list[str], env: dict[str, str], stdout: IO[bytes], **_: Any):
        self.process = FORK.Process(target=run_script, args=(command[1:], env, stdout.fileno()))
        self.process.start()

    def poll(self) -> int | None:
        """Return the exit code, None while the script runs."""
        return self.process.exitcode

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.terminate()

    def wait(self) -> int | None:
        """Wait for the end and return the exit code."""
        self.process.join()
        return self.process.exitcode


def run_script(words: list[str], env: dict[str, str], output: int) -> None:
    """Run a script with its arguments, as `python *words` in a session of its own."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for stream in (1, 2):
        os.dup2(output, stream)
    take_environment(env)
    sys.argv, sys.path[0] = words, str(Path(words[0]).parent)
    runpy.run_path(words[0], run_name="__main__")


def run(command: list[str], env: dict[str, str], **_: Any) -> subprocess.CompletedProcess:
    """Run a script to its end, as `subprocess.run` does."""
    with tempfile.TemporaryFile() as output:
        code = Fork(command, env, output).wait()
        output.seek(0)
        return subprocess.CompletedProcess(command, code or 0, "", output.read().decode())


def main() -> None:
    """Run compare.py."""
    sys.path.insert(0, str(REPO / "tools"))
    import compare
    import compare_runs

    compare_runs.subprocess = type("forks", (), {**vars(subprocess), "Popen": Fork, "run": staticmethod(run)})
    compare.main()


if __name__ == "__main__":
    main()
