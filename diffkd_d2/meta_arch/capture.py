"""Capture what named sub-modules return, without touching the model's code."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ..errors import UserError, nearest


class _Stop(Exception):
    """Raised by the last hook to end a forward pass whose remainder is not needed."""


@contextmanager
def capture(
    model: nn.Module, modules: Iterable[str], stop: bool = False, clones: set[str] | None = None, explore: bool = False
) -> Iterator[dict[str, Any]]:
    """Record the outputs of sub-modules during one forward of `model` inside the `with` block.

    Args:
        model: any module.
        modules: paths as in `find_module`, such as `"backbone"`.
        stop: leave the forward (and the block) as soon as all of them have run. A module that would run again, or an
            output that would change later, is then not noticed.
        clones: paths whose output the model changes in place later; a copy of the output is recorded.
        explore: add the paths of such outputs to `clones` instead of raising, and record which sub-modules run inside
            a module that does not run itself.

    Yields:
        a dict that fills up as the modules run, from path to what the module returned.

    Raises:
        UserError: before the block if a path does not exist. After the block if a module did not run, or ran several
            times (such as a head that is called once per level: capture its parent), or if its output was changed in
            place afterwards (such as a convolution before `relu_`) and it is not in `clones`.
    """
    clones = set() if clones is None else clones
    seen = _Seen(set(modules), stop, clones)
    handles = [
        find_module(model, path).register_forward_hook(lambda m, i, output, path=path: seen.record(path, output))
        for path in seen.wanted
    ]
    if explore:
        handles += [
            module.register_forward_hook(lambda m, i, o, name=f"{path}.{name}": seen.inside.add(name))
            for path in seen.wanted
            for name, module in find_module(model, path).named_modules()
            if name
        ]
    try:
        yield seen.outputs
    except _Stop:
        pass
    finally:
        for handle in handles:
            handle.remove()
    if explore:
        clones |= seen.changed()
    fault = seen.fault(ignore_changes=explore)
    if fault:
        raise UserError(f"{type(model).__name__}: module {fault}")


class _Seen:
    """What the hooks of one `capture` have recorded."""

    def __init__(self, wanted: set[str], stop: bool, clones: Collection[str]):
        self.wanted, self.stop, self.clones = wanted, stop, clones
        self.outputs: dict[str, Any] = {}
        self.repeated: set[str] = set()
        self.inside: set[str] = set()
        self.versions: dict[str, list[tuple[Tensor, int]]] = {}

    def record(self, path: str, output: Any) -> None:
        if path in self.outputs:
            self.repeated.add(path)
        self.outputs[path] = _clone(output) if path in self.clones else output
        self.versions[path] = [(t, t._version) for t in _tensors(self.outputs[path])]
        if self.stop and self.outputs.keys() == self.wanted:
            raise _Stop

    def changed(self) -> set[str]:
        """Return the paths whose output was changed in place after it was recorded."""
        return {path for path, known in self.versions.items() if any(t._version != before for t, before in known)}

    def fault(self, ignore_changes: bool) -> str | None:
        """Return what cannot be used, and what to capture instead; None if everything can be used."""
        missing = self.wanted - self.outputs.keys()
        if self.repeated:
            return f"{sorted(self.repeated)} ran several times in one forward; capture its parent"
        if self.changed() and not ignore_changes:
            return f"{sorted(self.changed())} returned what is changed in place later; capture its parent"
        if not missing:
            return None
        ran = sorted(name for name in self.inside if any(name.startswith(f"{path}.") for path in missing))
        outermost = [name for name in ran if not any(name.startswith(f"{other}.") for other in ran)]
        if not outermost:
            return f"{sorted(missing)} did not run in the forward"
        return (
            f"{sorted(missing)} is called by another method than forward, so that what it returns cannot be captured; "
            f"what ran inside of it can: {', '.join(outermost[-8:])}"
        )


def _clone(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.clone()
    if isinstance(output, dict):
        return {key: _clone(part) for key, part in output.items()}
    return type(output)(map(_clone, output)) if type(output) in (list, tuple) else output


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
        a dict that fills up as the modules run, from path to the arguments of each call, in order.

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
    """Return the sub-module at `path`. A module that the model holds under several names is found under each of them.

    Raises:
        UserError: if there is none; the message lists the most similar paths.
    """
    named = dict(model.named_modules(remove_duplicate=False))
    if path not in named:
        raise UserError(f"{type(model).__name__} has no module '{path}'{nearest(path, [n for n in named if n])}")
    return named[path]
