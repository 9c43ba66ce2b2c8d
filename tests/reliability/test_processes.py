"""Several processes on gloo: the same gradients, one end for all, restarts, two machines."""

import json
import re
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
import torch
from harness import REPO, command, differences, finish, read_metrics, start, start_quickly, started_from


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def torchrun(count: int, *options: str) -> list[str]:
    """Return the beginning of a command line."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count)]
    return [*launcher, "--master-port", str(free_port()), *options]


def forked_torchrun(count: int) -> list[str]:
    """Return the same for processes that start quickly."""
    return [sys.executable, "tests/helpers/forked_torchrun.py", str(count)]


LONG = pytest.mark.faults


@pytest.mark.slow
@pytest.mark.parametrize(
    "config", ["shapes/diffkd_semantic_fpn_r18", pytest.param("shapes/mimic_semantic_fpn_r18", marks=LONG)]
)
def test_gradients_of_several_processes(config, tiny_datasets, tmp_path):
    """A detector divides its losses by what each process finds; a mean over the pixels of equal images compares."""
    for count in (1, 2, 4):
        words = [
            *forked_torchrun(count),
            "tests/helpers/several.py",
            f"configs/{config}.py",
            str(tmp_path / str(count)),
        ]
        finish(words, tiny_datasets, tmp_path / "log")
    alone = torch.load(tmp_path / "1.pth", weights_only=True)
    for count in (1, 2, 4):
        report = json.loads((tmp_path / str(count)).read_text())
        assert report["missing"] == []
        # DDP holds what is trained, and nothing of the teacher.
        assert report["in_buckets"] == (None if count == 1 else report["trained"])
        gradients = torch.load(tmp_path / f"{count}.pth", weights_only=True)
        assert gradients.keys() == alone.keys()
        for name, gradient in gradients.items():
            scale = alone[name].abs().max().clamp(min=1)
            assert float((gradient - alone[name]).abs().max() / scale) < 1e-9, (count, name)


FAILING = """
from detectron2.config import LazyConfig
from failing import FailingMapper

base = LazyConfig.load({config!r})
dataloader, distill, lr_multiplier = base.dataloader, base.distill, base.lr_multiplier
model, optimizer, train = base.model, base.optimizer, base.train
dataloader.train.mapper._target_ = FailingMapper
"""


@pytest.fixture
def failing(tmp_path) -> str:
    """A config whose process 1 fails in its sixth iteration, unless it was restarted."""
    path = tmp_path / "failing.py"
    path.write_text(FAILING.format(config=str(REPO / "configs/shapes/mimic_retinanet_r18.py")))
    return str(path)


SHORT = ["dataloader.train.num_workers=0", "train.checkpointer.period=2", "train.max_iter=10", "train.log_period=1"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["raises", pytest.param("dies", marks=LONG)])
def test_failing_process_ends_all(how, failing, tiny_datasets, tmp_path, monkeypatch):
    monkeypatch.setenv("HOW", how)
    words = torchrun(2) + command(tmp_path / "out", *SHORT, config=failing)[1:]
    begin = time.monotonic()
    process = start(words, tiny_datasets, tmp_path / "log")
    assert process.wait(timeout=180) != 0
    text = (tmp_path / "log").read_text()
    if how == "raises":
        errors = [line for line in text.splitlines() if "Error" in line or "error:" in line]
        assert "the graphics card fell off" in errors[0], errors
    else:  # without a word: it is torchrun that says which one
        assert "failed (exitcode: 9) local_rank: 1" in text, text[-3000:]
    print(how, f"ended after {time.monotonic() - begin:.0f} s")


@pytest.mark.slow
def test_nan_in_one_process_skips_all(failing, tiny_datasets, tmp_path, monkeypatch):
    monkeypatch.setenv("HOW", "nan")
    words = forked_torchrun(2) + command(tmp_path / "out", *SHORT, "train.max_skipped=3", config=failing)[1:]
    process = start_quickly(words, tiny_datasets, tmp_path / "log")
    assert process.wait(timeout=180) != 0
    text = (tmp_path / "log").read_text()
    assert re.search(r"iteration 5, process 1: .*not finite; images: .*\.jpg", text), text[-3000:]
    assert "3 steps in a row" in text
    # The checkpoint of the end is the state after the last good step, in which it was like any other run.
    last = (tmp_path / "out" / "last_checkpoint").read_text()
    good = command(
        tmp_path / "good", *SHORT, "train.checkpointer.period=5", config="configs/shapes/mimic_retinanet_r18.py"
    )[1:]
    finish(forked_torchrun(2) + good, tiny_datasets, tmp_path / "good.log")
    ended, expected = (
        torch.load(path, weights_only=True)
        for path in (tmp_path / "out" / last, tmp_path / "good" / "model_0000004.pth")
    )
    for part in ("model", "distillers"):
        assert all(torch.equal(ended[part][k], v) for k, v in expected[part].items())


@pytest.mark.faults
def test_elastic_restart(failing, tiny_datasets, tmp_path, monkeypatch):
    words = torchrun(2, "--max-restarts", "1")
    monkeypatch.setenv("HOW", "dies")
    finish(words + command(tmp_path / "out", *SHORT, config=failing)[1:], tiny_datasets, tmp_path / "log")
    assert sorted(set(started_from(tmp_path / "log"))) in ([0, 4], [0, 6])
    iterations = [line["iteration"] for line in read_metrics(tmp_path / "out") if "lr" in line]
    assert iterations == list(range(10))
    monkeypatch.setenv("HOW", "raises")
    whole = torchrun(2, "--max-restarts", "1")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    whole += command(tmp_path / "whole", *SHORT, config="configs/shapes/mimic_retinanet_r18.py")[1:]
    finish(whole, tiny_datasets, tmp_path / "whole.log")
    assert differences(tmp_path / "whole", tmp_path / "out") == []


# A process that ends beside a thread of gloo may abort, in a third of the runs of one collective.
NO_THREAD_LEFT = """
import sys
from pathlib import Path
import train_net
from diffkd_d2.engine.config import argument_parser, parse_arguments
from diffkd_d2.engine.launch import launch
try:
    launch(train_net.main, parse_arguments(argument_parser(), sys.argv[1:]))
finally:
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    assert "pt_gloo_runloop" not in threads, threads
"""


def two_machines(out: Path, *overrides: str) -> list[list[str]]:
    """Return the command line of each of two machines as torchrun starts it; they meet at a loopback address."""
    place = [
        f"MASTER_PORT={free_port()}",
        "MASTER_ADDR=127.0.0.2",
        "WORLD_SIZE=2",
        "LOCAL_RANK=0",
        "LOCAL_WORLD_SIZE=1",
    ]
    words = [sys.executable, "-c", NO_THREAD_LEFT, *command(out, *SHORT[:2], *overrides)[2:]]
    return [["env", *place, f"RANK={rank}", *words] for rank in (0, 1)]


@pytest.mark.slow
def test_two_machines(tiny_datasets, tmp_path):
    words = two_machines(tmp_path / "out", "train.max_iter=4")
    ranks = [start(words[i], tiny_datasets, tmp_path / f"log{i}") for i in (1, 0)]
    codes = [rank.wait(timeout=200) for rank in ranks]
    assert codes == [0, 0], [(tmp_path / f"log{i}").read_text()[-3000:] for i in (1, 0)]
    assert (tmp_path / "out" / "model_final.pth").exists()
    assert "Rank of current process: 1. World size: 2" in (tmp_path / "out" / "log.txt.rank1").read_text()


@pytest.mark.slow
def test_sigterm_at_one_machine_ends_both(tiny_datasets, tmp_path):
    words = two_machines(tmp_path / "out", "train.max_iter=1000", "train.checkpointer.period=1000")
    ranks = [start(words[i], tiny_datasets, tmp_path / f"log{i}") for i in (1, 0)]
    deadline = time.monotonic() + 120
    while "iter: 2 " not in (tmp_path / "log0").read_text() and time.monotonic() < deadline:
        time.sleep(0.2)
    ranks[0].send_signal(signal.SIGTERM)
    codes = [rank.wait(timeout=100) for rank in ranks]
    assert codes == [143, 143], [(tmp_path / f"log{i}").read_text()[-3000:] for i in (1, 0)]
    (checkpoint,) = (tmp_path / "out").glob("model_*.pth")
    assert checkpoint.name == (tmp_path / "out" / "last_checkpoint").read_text()
