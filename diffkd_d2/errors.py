"""UserError: a mistake the user can fix, shown as one line. ProjectError: a failure in a project's own code."""

import difflib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """Invalid input: a file, a config key, a pairing. `train_net.py` prints it as one line and exits with 2."""


class ProjectError(RuntimeError):
    """Code that is not this package's failed: its message says where, and its cause has the traceback.

    `train_net.py` prints the line, then the traceback, and exits with 1.
    """


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print a UserError as one line on stderr and exit with 2, a ProjectError with its cause and exit with 1.

    Any other exception passes.
    """
    try:
        yield
    except UserError as error:
        print(f"error: {_line(error)}", file=sys.stderr)
        sys.exit(2)
    except ProjectError as error:
        print(f"error: {_line(error)}", file=sys.stderr)
        if error.__cause__ is None:  # of a DataLoader's worker, whose traceback is the message
            print(error, file=sys.stderr)
        else:
            traceback.print_exception(error.__cause__)
        sys.exit(1)


def _line(error: Exception) -> str:
    """Return the message as one line; of a DataLoader worker's, which has the worker's traceback, the last line."""
    lines = str(error).strip().splitlines()
    if any(line.endswith("Traceback (most recent call last):") for line in lines):
        return lines[-1].rpartition(f"{type(error).__name__}: ")[-1]
    return " ".join(line.strip() for line in lines)


def nearest(name: str, names: list[str], count: int = 3) -> str:
    """Return a clause with the names closest to `name`, or the first 20 if none is close."""
    close = difflib.get_close_matches(name, names, n=count, cutoff=0.5)
    if close:
        return f"; the nearest names: {', '.join(close)}"
    if not names:
        return "; there are none"
    return f"; there are: {', '.join(names[:20])}{' and others' if len(names) > 20 else ''}"
