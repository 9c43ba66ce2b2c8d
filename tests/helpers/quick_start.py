"""Run programs of the project in processes of their own that start quickly.

Importing torch and Detectron2 takes about six seconds of a core. A server imports them once for each environment; every
program is a fork of it, with its own arguments, folder, output and exit code.
"""

import json
import os
import runpy
import select
import subprocess
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
_servers: dict[str, subprocess.Popen] = {}
_MOST_SERVERS = 2  # each holds about half a gigabyte


def run_program(words: list[str], env: dict[str, str], cwd: Path = REPO, timeout: int = 600):
    """Run a script with its arguments, as `python *words` in `cwd`; return a `CompletedProcess` with its output.

    Raises:
        subprocess.TimeoutExpired: if it runs longer than `timeout` seconds; it is killed.
    """
    env = {key: value for key, value in env.items() if key != "PYTEST_CURRENT_TEST"}  # another one in each test
    key = json.dumps(env, sort_keys=True)
    if key not in _servers:
        while len(_servers) >= _MOST_SERVERS:
            _stop(_servers.pop(next(iter(_servers))))
        _servers[key] = subprocess.Popen(
            [sys.executable, __file__],
            env=env,
            cwd=REPO,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    server = _servers[key]
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, name) for name in ("stdout", "stderr")]
        server.stdin.write(json.dumps([words, str(cwd), *files]) + "\n")
        server.stdin.flush()
        if not select.select([server.stdout], [], [], timeout)[0]:
            os.killpg(server.pid, 9)
            del _servers[key]
            raise subprocess.TimeoutExpired(words, timeout)
        code = int(server.stdout.readline())
        out, err = (Path(file).read_text() for file in files)
    return subprocess.CompletedProcess(words, code, out, err)


def stop_servers() -> None:
    """End the servers of this process."""
    while _servers:
        _stop(_servers.popitem()[1])


def _stop(server: subprocess.Popen) -> None:
    server.stdin.close()
    server.wait()
    server.stdout.close()


def serve() -> None:
    """Read requests from stdin, run each in a fork, and write its exit code to stdout."""
    sys.path.insert(0, str(REPO))
    import train_net  # noqa: F401

    try:
        import timm  # noqa: F401
    except ImportError:
        pass
    sys.path.pop(0)
    for line in iter(sys.stdin.readline, ""):
        words, cwd, out, err = json.loads(line)
        child = os.fork()
        if child == 0:
            for number, (path, flags) in enumerate(
                [(os.devnull, os.O_RDONLY), (out, os.O_WRONLY | os.O_CREAT), (err, os.O_WRONLY | os.O_CREAT)]
            ):
                os.dup2(os.open(path, flags), number)
            os.chdir(cwd)
            sys.argv = words
            sys.path[0] = str(Path(words[0]).resolve().parent)
            runpy.run_path(words[0], run_name="__main__")
            sys.exit()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
