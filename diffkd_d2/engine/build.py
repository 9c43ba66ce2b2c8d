"""Build the objects of a config; turn failures into a UserError or a ProjectError."""

from types import TracebackType
from typing import Any

from detectron2.config import instantiate

from ..errors import ProjectError, UserError

# ValueErrors and TypeErrors of these packages describe a wrong argument.
LIBRARIES = ("diffkd_d2", "detectron2", "fvcore", "torch", "torchvision", "timm")


def build(node: Any, where: str) -> Any:
    """Instantiate a node of a config.

    Args:
        node: a LazyCall, or a list of them.
        where: its key in the config, for messages.

    Raises:
        UserError: if a library rejects an argument, or a callable does not take the given arguments.
        ProjectError: if a project's code fails, or a library fails for another reason.
    """
    try:
        return instantiate(node)
    except UserError:
        raise
    except Exception as error:
        name, called = _failed_call(error.__traceback__)
        line = f"{where}: {name}: {type(error).__name__}: {error}"
        if isinstance(error, TypeError) and not called:
            raise UserError(f"{where}: {error}") from error
        if isinstance(error, ValueError | TypeError) and name.split(".")[0] in LIBRARIES:
            raise UserError(line) from error
        raise ProjectError(line) from error


def _failed_call(trace: TracebackType | None) -> tuple[str, bool]:
    """Return the dotted name of the innermost active LazyCall, and whether the error came from inside the call."""
    name, called = "", False
    while trace is not None:
        if trace.tb_frame.f_code is instantiate.__code__:
            name, called = trace.tb_frame.f_locals.get("cls_name", name), False
        else:
            called = True
        trace = trace.tb_next
    return name, called
