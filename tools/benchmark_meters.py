"""Meters of `benchmark.py`: time, peak of tensor memory, and operator calls of a job."""

import statistics
import time
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from detectron2.utils.events import EventStorage
from torch.utils._python_dispatch import TorchDispatchMode

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def measure(
    work: dict[str, Callable], repeats: int, device: str, dtype: torch.dtype | None, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Return seconds of each job, measured in interleaved rounds; the first round is warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for i in range(repeats + 1):
        for name, job in work.items():
            with EventStorage(), torch.autocast(device, dtype, enabled=dtype is not None):
                _synchronise(device)
                start = clock()
                job()
                _synchronise(device)
            if i:
                seconds[name].append(clock() - start)
    return seconds


def median_ratio(seconds: list[float], floor: list[float]) -> float:
    """Return the median of the ratios within each round, which a change of the machine's load does not reach."""
    return statistics.median(a / b for a, b in zip(seconds, floor, strict=True))


def peak_memory(job: Callable, device: str, dtype: torch.dtype | None) -> int:
    """Return the peak of tensor memory in bytes that a job adds."""
    with EventStorage(), torch.autocast(device, dtype, enabled=dtype is not None):
        if device == "cuda":
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            job()
            return torch.cuda.max_memory_allocated() - before
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            job()
    events = sorted(profile.profiler.kineto_results.events(), key=lambda e: e.start_ns())
    return max(accumulate(e.nbytes() for e in events if e.name() == "[memory]"), default=0)


class CountCalls(TorchDispatchMode):
    """Count the operators inside the block, except views."""

    calls = 0

    def __torch_dispatch__(self, function: Any, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run an operator and count it."""
        aliases = [returned.alias_info for returned in function._schema.returns]
        self.calls += not any(alias is not None and not alias.is_write for alias in aliases)
        return function(*args, **(kwargs or {}))


def count_calls(job: Callable, device: str, dtype: torch.dtype | None) -> int:
    """Return how many kernels a job launches on CUDA, or how many operators it calls on a CPU."""
    with EventStorage(), torch.autocast(device, dtype, enabled=dtype is not None):
        if device == "cpu":
            with CountCalls() as counter:
                job()
            return counter.calls
        with torch.profiler.profile() as profile:
            job()
            _synchronise(device)
    return sum(row.count for row in profile.key_averages() if "LaunchKernel" in row.key)


def _synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
