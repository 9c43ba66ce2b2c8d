"""Read `.pkl` files of numpy arrays, Detectron2's older format, without running code from them."""

import math
import mmap
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from .torch_screen import follow


def read_arrays(path: str | Path) -> Any:
    """Return what a `.pkl` file holds: numpy arrays, numpy scalars, plain containers.

    Raises:
        ValueError or pickle.UnpicklingError: if it holds anything else, or arrays that are not what they declare.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        follow(data, set(_ArrayUnpickler.admitted) | {(m.replace("core", "_core"), n) for m, n in _ARRAY_NAMES})
        data.seek(0)
        return _unwrap(_ArrayUnpickler(data, encoding="latin1").load())


class _Dtype:
    def __init__(self, code: str, *_: Any):
        self.code, self.order = str(code), "="

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


class _Scalar:
    def __init__(self, dtype: _Dtype, raw: bytes | str):
        self.dtype, self.raw = dtype, raw.encode("latin1") if isinstance(raw, str) else raw

    def build(self) -> np.generic:
        return np.frombuffer(self.raw, self.dtype.build(), count=1)[0]


def _encode(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")


_ARRAY_NAMES = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _Scalar,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Admit numpy arrays and plain containers, nothing else."""

    admitted = {**_ARRAY_NAMES, ("collections", "OrderedDict"): OrderedDict, ("_codecs", "encode"): _encode}

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy._core", "numpy.core")
        if (module, name) not in self.admitted:
            raise pickle.UnpicklingError(f"it wants to run {module}.{name}")
        return self.admitted[module, name]


def _unwrap(root: Any) -> Any:
    """Replace the stand-ins in place; visit each container once, even if it is referenced often."""
    holder = [root]
    seen: set[int] = set()
    todo: list[Any] = [holder]
    while todo:
        container = todo.pop()
        if id(container) in seen:
            continue
        seen.add(id(container))
        for key, value in list(container.items() if isinstance(container, dict) else enumerate(container)):
            if isinstance(value, tuple):
                value = container[key] = list(value)
            if isinstance(value, _Array | _Scalar | _Dtype):
                container[key] = value.build()
            elif isinstance(value, dict | list):
                todo.append(value)
    return holder[0]
