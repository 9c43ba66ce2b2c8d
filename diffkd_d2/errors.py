"""UserError: a mistake the user can fix. train_net.py prints its message and exits with 2."""

import difflib
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """Invalid input: a file, a config key, a pairing. `train_net.py` prints it as one line and exits with 2."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print a UserError as one line on stderr and exit with code 2; any other exception passes."""
    try:
        yield
    except UserError as error:
        # A DataLoader worker's error arrives with the worker's traceback; the message is its last line.
        line = str(error).strip().splitlines()[-1].rpartition("UserError: ")[-1]
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)


def nearest(name: str, names: list[str], count: int = 3) -> str:
    """Return a clause with the names closest to `name`, or the first dozen if none is close."""
    close = difflib.get_close_matches(name, names, n=count, cutoff=0.5)
    if close:
        return f"; the nearest names: {', '.join(close)}"
    return f"; there are: {', '.join(names[:12])}" if names else "; there are none"
