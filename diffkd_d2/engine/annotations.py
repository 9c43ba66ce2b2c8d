"""Compare a value with a parameter's annotation."""

import inspect
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ConfigDict, Strict, TypeAdapter, ValidationError
from torch import nn


def misfit(annotation: Any, value: Any) -> str | None:
    """Return what is expected of a value that a config or a command line gives, or None if it fits.

    Numbers, texts and their lists are compared strictly; a list fits where a tuple is expected, because a config keeps
    a tuple as a list. Where an object is expected, only a number or a text is a misfit.

    Args:
        annotation: of a parameter; `inspect.Parameter.empty` fits everything.
        value: what is passed.
    """
    if _is_plain(annotation):
        return strict_misfit(_written(annotation), value)
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    if annotation is nn.Module and not isinstance(value, nn.Module):
        return "expected what builds a module, L(...)(...)"
    if not isinstance(value, str | int | float) or any(_may_be(kind, value) for kind in kinds):
        return None
    return f"expected what builds {'a module' if nn.Module in kinds else 'it'}, L(...)(...)"


def strict_misfit(annotation: Any, value: Any) -> str | None:
    """Return what pydantic expects of a value of this type, or None if it fits; nothing is converted."""
    try:
        TypeAdapter(annotation, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError as error:
        return " or ".join(dict.fromkeys(expected(fault) for fault in error.errors()))
    return None


def expected(fault: Any) -> str:
    """Return what a fault of pydantic expects, in our words."""
    return str(fault["msg"]).replace("Input should be", "expected").replace("String should", "expected a text to")


def _may_be(kind: Any, value: Any) -> bool:
    """Return whether a number or text may be of a kind; what is neither plain nor a class or a container is unknown."""
    if _is_plain(kind):
        return strict_misfit(_written(kind), value) is None
    if kind in (Any, object, inspect.Parameter.empty):
        return True
    return not isinstance(get_origin(kind) or kind, type)


def _is_plain(annotation: Any) -> bool:
    """Return whether an annotation consists only of numbers, strings, lists and the like, which a config can write."""
    if get_origin(annotation) is not None or get_args(annotation):
        return "collections.abc.Callable" not in str(annotation) and all(map(_is_plain, get_args(annotation)))
    return annotation in (int, float, str, bool, type(None), Ellipsis)


def _written(annotation: Any) -> Any:
    """Return an annotation whose tuples may be lists, because a config keeps a tuple as a list."""
    parts = tuple(map(_written, get_args(annotation)))
    if not parts:
        return annotation
    origin: Any = get_origin(annotation)
    rebuilt = (Union if origin is UnionType else origin)[parts]
    return Annotated[rebuilt, Strict(False)] if origin is tuple else rebuilt
