"""Screen a torch checkpoint before anything is built from it, so that an untrusted file is only data.

A pickle is a program. Two passes check it without executing it: the first counts and screens its instructions, the
second interprets it with dummies instead of the classes and functions that it names.
"""

import io
import mmap
import pickle
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

# 30 times the number in the largest zoo models with optimizer state.
MAX_INSTRUCTIONS = 2_000_000
MAX_PICKLE_BYTES = 1 << 26
MAX_TUPLE_DEPTH = 12
MAX_DEPTH = 32

LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # torch.save before 1.6, as a pickled integer
_ITEM_SIZES = dict(Double=8, Float=4, Half=2, BFloat16=2, Long=8, Int=4, Short=2, Char=1, Byte=1, Bool=1, Untyped=1)
_STORAGES = {("torch", f"{name}Storage"): size for name, size in _ITEM_SIZES.items()}
_STORAGES[("torch.storage", "UntypedStorage")] = 1
_TORCH = {
    ("collections", "OrderedDict"),
    ("collections", "Counter"),
    ("torch", "Size"),
    ("torch", "device"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch.nn.parameter", "Parameter"),
    *_STORAGES,
    *(("torch", name) for name, value in vars(torch).items() if isinstance(value, torch.dtype)),
}
# Names that numpy writes for an array or a scalar; `numpy_pickle` replaces these functions by its own.
NUMPY = {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")} | {
    (f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")
}
_UNWANTED = {"EXT1", "EXT2", "EXT4", "INST", "OBJ", "BYTEARRAY8", "NEXT_BUFFER", "READONLY_BUFFER"}


def check_torch_file(path: str | Path) -> None:
    """Raise ValueError unless `torch.save` could have written the file from tensors and plain containers."""
    size = Path(path).stat().st_size
    with open(path, "rb") as file:
        if file.read(4) == b"PK\x03\x04":
            _check_zip(file, size)
            return
        file.seek(0)
        if LEGACY_MAGIC not in file.read(32):
            raise ValueError("it is neither a zip archive nor a pickle of torch.save")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            # Five pickles: magic number, protocol, machine, the object, the keys of its storages.
            storages = [s for _ in range(5) for s in follow(data, _TORCH | NUMPY)]
            if sum(length * item for _, length, item in storages) > size:
                raise ValueError("its tensors are larger than the file")


def _check_zip(file: BinaryIO, size: int) -> None:
    with zipfile.ZipFile(file) as archive:
        members = {info.filename: info for info in archive.infolist()}
        if len(members) < len(archive.infolist()):
            raise ValueError("two members of its archive have one name")
        if sum(info.file_size for info in members.values()) > size:
            raise ValueError("its members are larger than the file")
        for name, info in members.items():
            if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
                raise ValueError(f"its member {name[:80]!r} is compressed, as torch.save never does")
            if name.startswith(("/", "\\")) or ".." in name or ":" in name or "\\" in name:
                raise ValueError(f"its member {name[:80]!r} has a path that leaves the archive")
        pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("its archive has no data.pkl")
        if members[pickles[0]].file_size > MAX_PICKLE_BYTES:
            raise ValueError("its data.pkl is larger than that of any model")
        folder = pickles[0].removesuffix("data.pkl")
        for key, length, item in follow(io.BytesIO(archive.read(pickles[0])), _TORCH | NUMPY):
            member = members.get(f"{folder}data/{key}")
            if member is None or member.file_size != length * item:
                raise ValueError(f"its tensor storage {str(key)[:20]} is not there, or of another size than declared")


def follow(stream: Any, admitted: set[tuple[str, str]]) -> list[tuple[str, int, int]]:
    """Screen the pickle at the stream's position and move past it; return its storages (key, length, item size)."""
    start = stream.tell()
    for count, (opcode, _, _) in enumerate(pickletools.genops(stream)):
        if count >= MAX_INSTRUCTIONS:
            raise ValueError("its pickle has more instructions than that of any model")
        if opcode.name in _UNWANTED:
            raise ValueError(f"its pickle has the instruction {opcode.name}")
    end = stream.tell()
    stream.seek(start)
    follower = _Follower(stream, admitted)
    follower.load()
    if max(follower.memo, default=0) > MAX_INSTRUCTIONS:
        raise ValueError("its pickle wants a table of entries that it does not have")
    stream.seek(end)
    return follower.storages


def refusal(module: str, name: str) -> str:
    """Return the error message for a class or function that a checkpoint may not refer to."""
    return (
        f"it refers to {module[:60]}.{name[:60]}, and only tensors, arrays and plain containers are read; where you "
        'trust the file, write its weights anew: torch.save({"model": state_dict}, path)'
    )


class _Dummy:
    """Accept every operation and do nothing."""

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Dummy":
        return object.__new__(cls)

    def _nothing(self, *args: Any, **kwargs: Any) -> "_Dummy":
        return self

    __call__ = append = extend = add = __setitem__ = __setstate__ = _nothing


class _Follower(pickle._Unpickler):
    """Python's own unpickler without imports: names become dummies, storages are recorded."""

    dispatch = dict(pickle._Unpickler.dispatch)
    memo: dict[int, Any]
    stack: list[Any]
    storages: list[tuple[str, int, int]]

    def __init__(self, stream: Any, admitted: set[tuple[str, str]]):
        super().__init__(stream, encoding="latin1")
        self.admitted, self.storages = admitted, []
        self._tuples: dict[int, tuple[tuple, int]] = {}

    def find_class(self, module: str, name: str) -> type[_Dummy]:
        if (module, name) not in self.admitted:
            raise pickle.UnpicklingError(refusal(module, name))
        return type("_Dummy", (_Dummy,), {"of": (module, name)})

    def persistent_load(self, pid: Any) -> _Dummy:
        if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage"):
            raise pickle.UnpicklingError("it refers to something that is no storage")
        item = _STORAGES.get(getattr(pid[1], "of", ("", "")))
        if item is None or type(pid[2]) is not str or type(pid[4]) is not int or pid[4] < 0:
            raise pickle.UnpicklingError("it has a storage of an unknown kind")
        self.storages.append((pid[2], pid[4], item))
        return _Dummy()

    def measure_tuple(self) -> None:
        """Bound the depth of tuples: hashing a tuple that holds another twice takes time exponential in the depth."""
        made = self.stack[-1]
        depth = 1 + max((self._tuples[id(x)][1] for x in made if id(x) in self._tuples), default=0)
        if depth > MAX_TUPLE_DEPTH:
            raise pickle.UnpicklingError("its tuples are nested too deep")
        self._tuples[id(made)] = made, depth  # keep a reference, so that no other object gets its id


def _limited(load: Any) -> Any:
    def load_and_measure(self: _Follower) -> None:
        load(self)
        self.measure_tuple()

    return load_and_measure


for _opcode in (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3):
    _Follower.dispatch[_opcode[0]] = _limited(_Follower.dispatch[_opcode[0]])


def tensors_in(root: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield path and value of tensors and arrays in nested dicts, lists and tuples, visiting each container once.

    Raises:
        ValueError: if containers are nested deeper than `MAX_DEPTH`.
        TypeError: if torch cannot convert an array.
    """
    seen: set[int] = set()
    todo: list[tuple[tuple[str, ...], Any]] = [((), root)]
    while todo:
        path, value = todo.pop()
        if isinstance(value, torch.Tensor):
            yield ".".join(path), value
        elif isinstance(value, np.ndarray):
            yield ".".join(path), torch.as_tensor(value)
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            if len(path) > MAX_DEPTH:
                raise ValueError("its containers are nested too deep")
            seen.add(id(value))
            items = value.items() if isinstance(value, dict) else enumerate(value)
            todo += [((*path, str(k)[:80]), v) for k, v in items]
