"""Read numpy arrays and scalars in `.pkl` and torch files without executing code from them."""

import math
import mmap
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .torch_screen import NUMPY, follow, refusal


def read_arrays(path: str | Path) -> Any:
    """Return the content of a `.pkl` file of numpy arrays, numpy scalars and plain containers.

    Raises:
        ValueError or pickle.UnpicklingError: if it holds anything else, or an array of another size than declared.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        follow(data, {*NUMPY, ("collections", "OrderedDict")})
        data.seek(0)
        return build_arrays(_ArrayUnpickler(data, encoding="latin1").load())


def stand_ins() -> list[tuple[Callable[..., Any], str]]:
    """Return replacements of numpy's functions with their full names, for `torch.serialization`."""
    return [(_STAND_INS[key.replace("_core", "core"), name], f"{key}.{name}") for key, name in sorted(NUMPY)]


class _Dtype:
    def __init__(self, code: str, *_: Any):
        self.code = str(code)
        self.order: Any = "="  # the file may say anything

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]

    def build(self) -> np.dtype:
        dtype = np.dtype(self.code)
        if dtype.kind not in "biuf" or self.order not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError(f"it has an array of {self.code[:20]}")
        return dtype.newbyteorder(self.order)


class _Array:
    """Stand in for an array until the whole file is read, so that numpy never sees unchecked values."""

    def __init__(self, *_: Any):
        # The arguments are placeholders; the state has the real shape and type.
        self.state: Any = None

    def __setstate__(self, state: tuple) -> None:
        self.state = state

    def build(self) -> np.ndarray:
        _, shape, dtype, fortran, raw = self.state
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        dtype = dtype.build()
        if any(type(n) is not int or n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != len(raw):
            raise pickle.UnpicklingError("an array is not of the size that it declares")
        return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C").copy()


def _scalar(dtype: _Dtype, raw: bytes | str) -> float | int | bool:
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(dtype, _Dtype):
        raise pickle.UnpicklingError("a scalar has no type")
    return np.frombuffer(raw, dtype.build(), count=1)[0].item()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("_codecs", "encode"): _encode,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Admit only numpy arrays and plain containers."""

    admitted = {**_STAND_INS, ("collections", "OrderedDict"): OrderedDict}

    def find_class(self, module: str, name: str) -> Any:
        key = module.replace("numpy._core", "numpy.core"), name
        if key not in self.admitted:
            raise pickle.UnpicklingError(refusal(module, name))
        return self.admitted[key]


def build_arrays(root: Any) -> Any:
    """Replace the stand-ins by arrays, in place except in tuples; visit each container once."""
    holder = [root]
    seen: set[int] = set()
    tuples: dict[int, tuple[tuple, tuple]] = {}  # id -> (old tuple, kept so that its id stays unique; new tuple)
    todo: list[Any] = [holder]

    def built(value: Any) -> Any:
        if isinstance(value, _Array | _Dtype):
            return value.build()
        if type(value) is tuple:  # `follow` bounds the depth of tuples
            if id(value) not in tuples:
                tuples[id(value)] = value, tuple(built(x) for x in value)
            return tuples[id(value)][1]
        if isinstance(value, dict | list) and id(value) not in seen:
            todo.append(value)
        return value

    while todo:
        container = todo.pop()
        seen.add(id(container))
        for key, value in list(container.items() if isinstance(container, dict) else enumerate(container)):
            container[key] = built(value)
    return holder[0]
