"""Checkpoints on a full disk, damaged ones, and those that are kept."""

import resource
import signal
import subprocess

import pytest
import torch
from detectron2.engine import TrainerBase
from harness import REPO, command, environment, finish, last_checkpoint
from torch import nn

from diffkd_d2.checkpoint.checkpointer import Checkpointer
from diffkd_d2.engine.hooks import PeriodicCheckpointer


@pytest.mark.slow
def test_full_disk_keeps_the_previous_checkpoint(tiny_datasets, tmp_path):
    """No file may grow beyond 1 MB from the fifth iteration on, as with a quota; a checkpoint takes ten."""
    out, log = tmp_path / "out", tmp_path / "log"
    finish(command(out, "train.max_iter=4"), tiny_datasets, log)
    (out / "model_final.pth").unlink()
    (out / "last_checkpoint").write_text("model_0000003.pth")

    def quota():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    words = command(out, "train.max_iter=12", "--resume")
    run = subprocess.run(
        words,
        cwd=REPO,
        env=environment(tiny_datasets),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        preexec_fn=quota,
    )
    assert run.returncode == 2, run.stderr[-3000:]
    lines = [line for line in run.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and "cannot write checkpoint" in lines[0] and "model_0000007.pth" in lines[0]
    assert "Traceback" not in run.stdout + run.stderr
    assert last_checkpoint(out) == 3 and not list(out.glob("*.partial"))
    finish([*words[:-2], "train.max_iter=6", "--resume"], tiny_datasets, log)
    assert "Starting training from iteration 4" in log.read_text()


def test_a_hash_finds_what_can_still_be_read(tmp_path, caplog):
    net = nn.Linear(3, 2)
    for i in (1, 3):
        nn.init.constant_(net.weight, i)
        Checkpointer(net, str(tmp_path)).save(f"model_000000{i}")
    newest = tmp_path / "model_0000003.pth"
    content = bytearray(newest.read_bytes())
    position = content.index(torch.full((2,), 3.0).numpy().tobytes())
    content[position] ^= 1  # one bit of one weight
    newest.write_bytes(content)
    torch.load(newest, weights_only=True)
    fresh = nn.Linear(3, 2)
    assert Checkpointer(fresh, str(tmp_path)).resume()
    assert (fresh.weight == 1).all() and "it has not the hash that it was written with" in caplog.text


def test_a_checkpoint_without_its_pointer_is_found(tmp_path):
    Checkpointer(nn.Linear(3, 2), str(tmp_path)).save("model_0000001")
    (tmp_path / "last_checkpoint").unlink()
    assert Checkpointer(nn.Linear(3, 2), str(tmp_path)).resume()
    (tmp_path / "model_0000001.pth.sha256").unlink()  # a file that some other program left here
    assert not Checkpointer(nn.Linear(3, 2), str(tmp_path)).resume()


class Loop(TrainerBase):
    def run_step(self):
        pass


def test_the_last_k_are_kept_across_resumes(tmp_path):
    for start in (0, 4, 8):
        trainer = Loop()
        checkpointer = Checkpointer(nn.Linear(3, 2), str(tmp_path))
        (tmp_path / "model_9.pth.partial").write_bytes(b"half")
        assert checkpointer.resume() == (start > 0)
        trainer.register_hooks([PeriodicCheckpointer(checkpointer, period=2, max_to_keep=2)])
        trainer.train(start, start + 4)
        names = {path.name for path in tmp_path.glob("model_[0-9]*.pth")}
        assert names == {f"model_{start + i:07d}.pth" for i in (1, 3)}
    assert not list(tmp_path.glob("*.partial"))
    orphans = [path for path in tmp_path.glob("*.sha256") if not path.with_suffix("").exists()]
    assert len(orphans) <= 1  # of the one that was pruned after the last writing


def test_checkpoints_of_a_stopped_run_are_counted(tmp_path):
    for name in ("model_0000000", "model_0000002", "model_0000004", "model_0000005"):  # by SIGTERM, at odd iterations
        Checkpointer(nn.Linear(3, 2), str(tmp_path)).save(name)
    trainer = Loop()
    trainer.register_hooks([PeriodicCheckpointer(Checkpointer(nn.Linear(3, 2), str(tmp_path)), 2, max_to_keep=2)])
    trainer.train(5, 6)  # writes model_0000005 anew
    assert {path.stem for path in tmp_path.glob("model_[0-9]*.pth")} == {"model_0000004", "model_0000005"}
    trainer.train(6, 8)
    assert {path.stem for path in tmp_path.glob("model_[0-9]*.pth")} == {"model_0000005", "model_0000007"}
