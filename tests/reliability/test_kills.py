"""A run that is killed anywhere and resumed equals the one that was not, bit for bit."""

import json
import math
import random
from pathlib import Path

import pytest
from harness import command, differences, finish, kill_in_training, read_metrics, start_quickly, started_from


def survive(kills: int, max_iter: int, datasets: Path, tmp_path: Path, *overrides: str, **options) -> dict[str, int]:
    """Kill and resume; compare the outcome; return how often it was killed, and how often while it wrote."""
    overrides = (f"train.max_iter={max_iter}", f"train.eval_period={max_iter // 2}", *overrides)
    whole, broken, log = tmp_path / "whole", tmp_path / "broken", tmp_path / "broken.log"
    finish(command(whole, *overrides, **options), datasets, tmp_path / "whole.log")
    rng, ends = random.Random(20), []
    words = command(broken, *overrides, "--resume", **options)
    log.touch()
    for i in range(kills):
        process = start_quickly(words, datasets, log)
        if i % 4 == 1:
            killed = kill_in_training(process, broken, log, checkpoints=2, delay=None)
        else:
            killed = kill_in_training(process, broken, log, rng.choice([0, 1, 1, 2]), rng.uniform(0, 2))
        assert killed, f"the run ended after {i} kills: {log.read_text()[-3000:]}"
        ends.append(killed)
    finish(words, datasets, log)
    assert differences(whole, broken) == []
    # None lost an iteration of the last checkpoint (one that was whole but had not got its pointer yet counts).
    assert all(begin > end.checkpoint for begin, end in zip(started_from(log)[1:], ends, strict=True))
    iterations = [line["iteration"] for line in map(json.loads, (broken / "metrics.json").open()) if "lr" in line]
    assert iterations == sorted(set(iterations))
    return dict(kills=len(ends), writing=sum(end.writing for end in ends))


@pytest.mark.slow
def test_two_kills(tiny_datasets, tmp_path):
    assert survive(2, 28, tiny_datasets, tmp_path)["kills"] == 2
    rates = {line["iteration"]: line["lr"] for line in read_metrics(tmp_path / "broken") if "lr" in line}
    assert max(rates) == 27
    assert rates == pytest.approx({i: 1e-3 * (1 + math.cos(math.pi * i / 28)) / 2 for i in rates}, rel=1e-3)


@pytest.mark.slow
def test_two_kills_of_a_classifier(tiny_datasets, tmp_path):
    more = ("train.ema_decay=0.9", "train.accumulate=2")
    config = "configs/shapes_cls/alone_resnet10.py"
    assert survive(2, 60, tiny_datasets, tmp_path, *more, config=config)["kills"] == 2


@pytest.mark.faults
def test_twenty_kills(tiny_datasets, tmp_path):
    counts = survive(20, 200, tiny_datasets, tmp_path)
    print(counts)
    assert counts["kills"] == 20 and counts["writing"] >= 3
