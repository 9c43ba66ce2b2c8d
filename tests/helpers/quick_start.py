"""Run programs of the project in processes of their own that start quickly.

Importing torch, Detectron2 and what a run needs takes six seconds of a core. A server imports them once; every program
is a fork of it, with its own arguments, environment, folder, output and exit code.
"""

import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


class Server:
    """A process that has imported everything and forks programs, one at a time."""

    def __init__(self, env: dict[str, str]):
        self.program = None
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            env=env,
            cwd=REPO,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )

    def is_idle(self) -> bool:
        """Return whether its last program has ended."""
        return self.program is None or self.program.poll() is not None

    def start(self, words: list[str], request: list) -> "Program":
        """Start a program and return it."""
        self.process.stdin.write((json.dumps([words, *request]) + "\n").encode())
        self.program = Program(self.process, words)
        return self.program

    def stop(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


_servers: list[Server] = []  # each holds about half a gigabyte


class Program:
    """A running fork of a server, in a session of its own. It answers as `subprocess.Popen` does."""

    def __init__(self, server: subprocess.Popen, words: list[str]):
        self.args, self.returncode = words, None
        self._server = server
        self.pid = int(server.stdout.readline())

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while the program runs."""
        return self._read(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code."""
        if self._read(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def kill(self) -> None:
        """Send SIGKILL to the program and its children, and wait for its end."""
        os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def _read(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._server.stdout], [], [], timeout)[0]:
            self.returncode = int(self._server.stdout.readline())
        return self.returncode


def start_program(words: list[str], env: dict[str, str], out: Path, err: Path | None = None, cwd: Path = REPO):
    """Start a script with its arguments, as `python *words` in `cwd`; return it as a `Program`.

    What it prints is appended to `out`, its errors to `err` or, without that, to `out`.
    """
    server = next((server for server in _servers if server.is_idle()), None)
    if server is None:
        server = Server(env)
        _servers.append(server)
    return server.start(words, [env, str(cwd), str(out), str(err or out)])


def run_program(words: list[str], env: dict[str, str], cwd: Path = REPO, timeout: int = 600):
    """Run a script with its arguments, as `python *words` in `cwd`; return a `CompletedProcess` with its output.

    Raises:
        subprocess.TimeoutExpired: if it runs longer than `timeout` seconds; it is killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("stdout", "stderr")]
        program = start_program(words, env, *files, cwd=cwd)
        try:
            code = program.wait(timeout)
        except subprocess.TimeoutExpired:
            program.kill()
            raise
        return subprocess.CompletedProcess(words, code, *(file.read_text() for file in files))


def stop_servers() -> None:
    """End the servers of this process."""
    while _servers:
        _servers.pop().stop()


def serve() -> None:
    """Read requests from stdin, run each in a fork, and write its process id, then its exit code, to stdout."""
    sys.path.insert(0, str(REPO))
    # After train_net, what a run imports by and by.
    for name in ("train_net", "torch.utils.cpp_extension", "torch.utils.tensorboard", "timm"):
        with suppress(ImportError):
            importlib.import_module(name)
    sys.path.pop(0)
    for line in iter(sys.stdin.readline, ""):
        words, env, cwd, out, err = json.loads(line)
        child = os.fork()
        if child == 0:
            os.setsid()
            appended = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            for number, (path, flags) in enumerate([(os.devnull, os.O_RDONLY), (out, appended), (err, appended)]):
                os.dup2(os.open(path, flags), number)
            os.chdir(cwd)
            take_environment(env)
            run_script(words)
            sys.exit()
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def run_script(words: list[str]) -> None:
    """Run a script with its arguments in this process, as `python *words`."""
    sys.argv = words
    sys.path[0] = str(Path(words[0]).resolve().parent)
    runpy.run_path(words[0], run_name="__main__")


def take_environment(env: dict[str, str]) -> None:
    """Put an environment in place of this process's, also where imported modules have looked at it already."""
    old, new = (e.get("PYTHONPATH", "").split(os.pathsep) for e in (os.environ, env))
    os.environ.clear()
    os.environ.update(env)
    sys.path[1:] = [*filter(None, new), *(path for path in sys.path[1:] if path not in old)]
    tempfile.tempdir = None
    from detectron2.data import DatasetCatalog, MetadataCatalog
    from detectron2.data.datasets import builtin

    DatasetCatalog.clear()
    MetadataCatalog.clear()
    importlib.reload(builtin)  # registers COCO and others under DETECTRON2_DATASETS


if __name__ == "__main__":
    serve()
