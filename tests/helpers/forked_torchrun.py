"""torchrun on one machine whose processes are forks of its own: `forked_torchrun.py COUNT SCRIPT ARGUMENTS`.

Agent, rendezvous and environment are torch's; what is saved are six seconds of imports in each process.
"""

import sys

from quick_start import run_script
from torch.distributed.launcher.api import LaunchConfig, elastic_launch


def main() -> None:
    """Run the script in COUNT processes; the exit code is 0 if all end with 0."""
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=int(sys.argv[1]),
        start_method="fork",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    elastic_launch(config, run_script)(sys.argv[2:])


if __name__ == "__main__":
    main()
