"""SIGTERM during training: what the hook takes, and what it leaves to others."""

import multiprocessing
import os
import signal
import time

from diffkd_d2.engine.preemption import PreemptionHook


def test_a_forked_worker_can_still_be_terminated():
    """cityscapesscripts computes PQ in a pool, and waits for ever for a worker that does not end."""
    hook = PreemptionHook(None, "cpu")
    hook.before_train()
    try:
        for wait in (0, 0, 0, 0.1):
            worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
            worker.start()
            time.sleep(wait)
            worker.terminate()
            worker.join(20)
            assert worker.exitcode == -signal.SIGTERM and not hook.asked
        os.kill(os.getpid(), signal.SIGTERM)
        assert hook.asked
    finally:
        hook.after_train()
