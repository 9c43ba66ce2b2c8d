"""Capture what named sub-modules return, without touching the model's code."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ..errors import UserError, nearest


class _Stop(Exception):
    """Raised by the last hook to leave a forward whose rest nobody needs."""


@contextmanager
def capture(model: nn.Module, modules: Iterable[str], stop: bool = False) -> Iterator[dict[str, Any]]:
    """Record the outputs of sub-modules during one forward of `model` inside the `with` block.

    Args:
        model: any module.
        modules: paths as in `named_modules()`, such as `"backbone"`.
        stop: leave the forward (and the block) as soon as all of them have run; what would have come after (one of
            them runs again, an output is changed) is then not seen.

    Yields:
        a dict that fills up as the modules run: path -> what the module returned.

    Raises:
        UserError: before the block if a path does not exist; after it if a module did not run, ran several times
            (a head that is called once per level: capture the module that holds it), or if what it returned was
            changed in place afterwards (a convolution before `relu_`: capture the block that holds both).
    """
    modules = set(modules)
    outputs: dict[str, Any] = {}
    repeated: set[str] = set()
    versions: dict[str, list[tuple[Tensor, int]]] = {}

    def record(path: str, output: Any) -> None:
        if path in outputs:
            repeated.add(path)
        outputs[path] = output
        versions[path] = [(t, t._version) for t in _tensors(output)]
        if stop and outputs.keys() == modules:
            raise _Stop

    handles = [
        find_module(model, path).register_forward_hook(lambda m, i, output, path=path: record(path, output))
        for path in modules
    ]
    try:
        yield outputs
    except _Stop:
        pass
    finally:
        for handle in handles:
            handle.remove()
    name = type(model).__name__
    if repeated:
        raise UserError(f"{name}: module {sorted(repeated)} ran several times in one forward; capture its parent")
    changed = [path for path, seen in versions.items() if any(t._version != before for t, before in seen)]
    if changed:
        raise UserError(f"{name}: what module {sorted(changed)} returned is changed in place later; capture its parent")
    if outputs.keys() != modules:
        raise UserError(f"{name}: module {sorted(modules - outputs.keys())} did not run in the forward")


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict | list | tuple):
        for part in output.values() if isinstance(output, dict) else output:
            yield from _tensors(part)


@contextmanager
def record_inputs(model: nn.Module, modules: Iterable[str]) -> Iterator[dict[str, list[tuple[Any, ...]]]]:
    """Record the positional arguments of each call of sub-modules inside the `with` block.

    Args:
        model: any module.
        modules: paths as in `named_modules()`.

    Yields:
        a dict that fills up as the modules run: path -> the arguments of each call, in order.

    Raises:
        UserError: if a path does not exist.
    """
    calls: dict[str, list[tuple[Any, ...]]] = {path: [] for path in modules}
    handles = [
        find_module(model, path).register_forward_pre_hook(lambda m, args, path=path: calls[path].append(args))
        for path in calls
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def find_module(model: nn.Module, path: str) -> nn.Module:
    """Return the sub-module at `path`.

    Raises:
        UserError: if there is none; the line lists the paths that are most alike.
    """
    named = dict(model.named_modules())
    if path not in named:
        raise UserError(f"{type(model).__name__} has no module '{path}'{nearest(path, [n for n in named if n])}")
    return named[path]
