"""Build the objects of a config; turn failures into a UserError or a ProjectError."""

import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from detectron2.config import instantiate

from ..errors import ProjectError, UserError

# An error that passes only through code of these packages and the standard library comes from a wrong argument.
LIBRARIES = {
    *("diffkd_d2", "detectron2", "fvcore", "iopath", "torch", "torchvision", "timm", "omegaconf"),
    *("numpy", "PIL", "pycocotools", "lvis", "cityscapesscripts", "panopticapi", "cv2", "scipy"),
    *sys.stdlib_module_names,
}


def build(node: Any, where: str) -> Any:
    """Instantiate a node of a config.

    Args:
        node: a LazyCall, or a list of them.
        where: its key in the config, for messages.

    Raises:
        UserError: if a library rejects an argument, or a callable does not take the given arguments.
        ProjectError: if a project's code fails.
    """
    with explained_errors(where):
        return instantiate(node)


def explained(error: Exception, where: str) -> UserError | ProjectError:
    """Return what to raise for an error in a config's objects: a UserError if only libraries took part in it.

    Args:
        error: the error, with its traceback.
        where: the part of the config or of the run, for the message.
    """
    name, called = _failed_call(error.__traceback__)
    if isinstance(error, TypeError) and name and not called:
        return UserError(f"{where}: {error}")
    frames = list(traceback.walk_tb(error.__traceback__))
    packages = [_package(frame.f_globals.get("__name__", "")) for frame, _ in frames]
    if not name:
        inner = [at for at, package in zip(frames, packages, strict=True) if package != "torch"][-1:]
        name = ", ".join(f"{Path(frame.f_code.co_filename).name} line {line}" for frame, line in inner)
    line = f"{where}: {name}: {_describe(error)}"
    is_bug = packages[-1:] == ["diffkd_d2"] and not isinstance(error, ValueError | TypeError | ImportError)
    of_worker = "in DataLoader worker process" in str(error)  # whose own frames are only in its message
    return UserError(line) if set(packages) <= LIBRARIES and not is_bug and not of_worker else ProjectError(line)


@contextmanager
def explained_errors(where: str) -> Iterator[None]:
    """Raise `explained` errors; a UserError or ProjectError passes as it is."""
    try:
        yield
    except (UserError, ProjectError):
        raise
    except Exception as error:
        raise explained(error, where) from error


def _package(module: str) -> str:
    """Return the top package of a module; "" for a LazyConfig file, which Detectron2 loads under its own name."""
    return "" if module.startswith("detectron2._cfg_loader") else module.partition(".")[0]


def _describe(error: Exception) -> str:
    """Return the kind of an error and its first line, or the line of code that raised it if it has no message."""
    lines = str(error).strip().splitlines() or [traceback.extract_tb(error.__traceback__)[-1].line or ""]
    return f"{type(error).__name__}: {lines[0]}"


def _failed_call(trace: TracebackType | None) -> tuple[str, bool]:
    """Return the dotted name of the innermost active LazyCall, and whether the error came from inside the call."""
    name, called = "", False
    while trace is not None:
        if trace.tb_frame.f_code is instantiate.__code__:
            name, called = trace.tb_frame.f_locals.get("cls_name", name), False
            name = re.sub(r"^<function (\S+) at \w+>$", r"\1", name)
        else:
            called = True
        trace = trace.tb_next
    return name, called
