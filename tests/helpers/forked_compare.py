"""compare.py that forks its runs and measurements: `forked_compare.py ARGUMENTS`.

A fork has an environment, output, exit code and lock of its own, as a process has. It saves six seconds of imports.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from quick_start import run_script, take_environment

REPO = Path(__file__).resolve().parents[2]
FORK = multiprocessing.get_context("fork")


class Fork:
    """A script in a fork of this process; it answers as `subprocess.Popen` does."""

    def __init__(self, command: list[str], env: dict[str, str], stdout: IO[bytes], **_: Any):
        self.process = FORK.Process(target=start_script, args=(command[1:], env, stdout.fileno()))
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


def start_script(words: list[str], env: dict[str, str], output: int) -> None:
    """Run a script with its arguments, as `python *words` in a session of its own."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for stream in (1, 2):
        os.dup2(output, stream)
    take_environment(env)
    run_script(words)


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

    constants = dict(DEVNULL=subprocess.DEVNULL, STDOUT=subprocess.STDOUT)
    compare_runs.subprocess = SimpleNamespace(Popen=Fork, run=run, **constants)
    compare.main()


if __name__ == "__main__":
    main()
