"""Makes checkpoint files that no one should trust: `make_corpus(folder, canary)` returns (name, path, role)."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

MAGIC = 0x1950A86A20F9469CFC6C
GLOBALS = [
    ("os", "system"),
    ("posix", "system"),
    ("subprocess", "Popen"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("builtins", "__import__"),
    ("builtins", "bytearray"),
    ("runpy", "run_path"),
    ("shutil", "rmtree"),
    ("torch", "load"),
    ("torch.hub", "load"),
    ("torch.jit", "load"),
    ("torch._C", "_jit_flatten"),
    ("torch._utils", "_rebuild_wrapper_subclass"),
    ("torch.serialization", "_load"),
    ("numpy", "load"),
    ("numpy.core.multiarray", "fromfile"),
    ("functools", "partial"),
    ("operator", "attrgetter"),
    ("pathlib", "Path"),
    ("importlib", "import_module"),
    ("collections", "namedtuple"),
    ("types", "FunctionType"),
    ("yaml", "unsafe_load"),
    ("detectron2.utils.registry", "locate"),
    ("diffkd_d2.checkpoint", "Checkpointer"),
    ("builtins.dict", "fromkeys"),
    ("collections", "OrderedDict.fromkeys"),
    ("torch", "Tensor.set_"),
]


def small_net() -> nn.Module:
    """Return the model that the corpus pretends to be of."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def saved(data: object, **options: bool) -> bytes:
    """Return what `torch.save` writes."""
    file = io.BytesIO()
    torch.save(data, file, **options)
    return file.getvalue()


def repack(content: bytes, change: Callable[[dict[str, bytes]], None], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip archive with its members changed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def with_pickle(program: bytes) -> bytes:
    """Return a torch file whose data.pkl is this program."""
    return repack(saved({"model": {}}), lambda m: m.update({"archive/data.pkl": program}))


def call(module: str, name: str, argument: bytes, how: str) -> bytes:
    """Return a pickle that calls module.name(argument), by one of the ways that a pickle has."""
    text = b"X" + struct.pack("<I", len(argument)) + argument
    by_name = f"c{module}\n{name}\n".encode()
    return {
        "reduce": b"\x80\x02}" + b"X\x05\x00\x00\x00model" + by_name + b"(" + text + b"tRs.",
        "stack_global": b"\x80\x04" + _short(module) + _short(name) + b"\x93(" + text + b"tR.",
        "inst": b"(" + b"V" + argument + b"\n" + f"i{module}\n{name}\n.".encode(),
        "obj": b"(" + by_name + text + b"o.",
        "newobj": b"\x80\x02" + by_name + b"(" + text + b"t\x81.",
        "build": b"\x80\x02" + by_name + b"}b.",
    }[how]


def _short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def programs(canary: Path) -> Iterator[tuple[str, bytes]]:
    """Pickles that call functions, or that want more memory or time than they are worth."""
    for module, name in GLOBALS:
        command = f"touch {canary}" if "eval" not in name else f"open({str(canary)!r}, 'w')"
        yield f"{module}.{name}", call(module, name, command.encode(), "reduce")
    for how in ("stack_global", "inst", "obj", "newobj", "build"):
        yield f"os.system by {how}", call("os", "system", f"touch {canary}".encode(), how)
    yield "no stop", b"\x80\x02}"
    yield "empty", b""
    yield "not a pickle", b"\x00" * 100
    yield "extension", b"\x80\x02\x82\x01."
    yield "memo of 2^32", b"\x80\x02}r\xff\xff\xff\xff."
    yield "text of 2^32", b"\x80\x02X\xff\xff\xff\xffabc."
    yield "bytes of 2^62", b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"abc."
    yield "bytearray of 2^33", b"\x80\x05\x96" + struct.pack("<Q", 1 << 33) + b"abc."
    yield "frame of 2^60", b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"}."
    yield "a million lists", b"\x80\x02" + b"]" * 1_000_000 + b"a" * 999_999 + b"."
    yield "nested lists", b"\x80\x02X\x05\x00\x00\x00model" + b"]" * 200_000 + b"a" * 199_999 + b"."
    yield "five million numbers", b"\x80\x02](" + b"K\x01" * 5_000_000 + b"e."
    yield "hash of doubling tuples", b"\x80\x02}K\x01" + b"2\x86" * 60 + b"K\x01s."
    yield "doubling lists", b"\x80\x02}X\x05\x00\x00\x00model" + b"]q\x00" + b"](h\x00h\x00eq\x00" * 60 + b"s."
    yield "a list in itself", b"\x80\x02}X\x05\x00\x00\x00model]q\x00h\x00as."
    yield "long integer", b"\x80\x02\x8b" + struct.pack("<i", 5_000_000) + b"\x7f" * 5_000_000 + b"."
    yield "recursive dict", b"\x80\x02}q\x00X\x05\x00\x00\x00modelh\x00s."


def tensors() -> Iterator[tuple[str, bytes]]:
    """Torch archives whose tensors are not what they say, or whose members are not."""
    good = saved({"model": small_net().state_dict()})
    one = saved({"model": {"x": torch.zeros(4)}})

    def patched(old: bytes, new: bytes) -> bytes:
        def change(members):
            name = "archive/data.pkl"
            assert old in members[name]
            members[name] = members[name].replace(old, new)

        return repack(one, change)

    yield "shape of 2^31", patched(b"K\x04\x85", b"J\xff\xff\xff\x7f\x85")
    yield "shape of 2^62", patched(b"K\x04\x85", b"\x8a\x08" + struct.pack("<Q", 1 << 62) + b"\x85")
    yield "negative shape", patched(b"K\x04\x85", b"J\xff\xff\xff\xff\x85")
    yield "broadcast of 2^31", saved({"model": {"x": torch.zeros(1).expand(1 << 31)}})
    yield "broadcast of 2^40", saved({"model": {"x": torch.zeros(1).expand(1 << 40)}})
    yield "storage larger than its member", repack(one, lambda m: m.update({"archive/data/0": b"\x00" * 4}))
    yield "storage without a member", repack(one, lambda m: m.pop("archive/data/0"))
    yield "no data.pkl", repack(one, lambda m: m.pop("archive/data.pkl"))
    yield "deflated", repack(one, lambda m: None, zipfile.ZIP_DEFLATED)
    for size in (1 << 20, 1 << 28):
        yield f"zip bomb in a storage {size}", bomb(one, "archive/data/0", size)
        yield f"zip bomb in the pickle {size}", bomb(one, "archive/data.pkl", size)
        yield f"zip bomb beside it {size}", bomb(one, "archive/data/9", size)
    for name in (
        "../escaped",
        "/tmp/escaped",
        "archive/../../escaped",
        "..\\escaped",
        "C:\\escaped",
        "archive/data/../x",
    ):
        yield f"member {name}", repack(one, lambda m, n=name: m.update({n: b"x"}))
    yield "two of a name", twice(one)
    yield "overlapping members", overlapping(one)
    yield "a zip of something else", repack(one, lambda m: (m.clear(), m.update({"readme.txt": b"hello"})))
    yield "TorchScript", repack(one, lambda m: m.update({"archive/constants.pkl": b"\x80\x02)."}))
    for part in range(1, 20):
        yield f"truncated at {part}/20", good[: len(good) * part // 20]
    for i in range(4, 40, 4):
        yield f"magic overwritten up to {i}", b"\xff" * i + good[i:]
    for text in (b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x89PNG\r\n", b"GIF89a", b"\x7fELF", b"#!/bin/sh\n"):
        yield f"starts with {text[:4]!r}", text
    yield "a tar", b"sys_info" + b"\x00" * 504
    yield "git LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    yield "html", b"<!DOCTYPE html><html>404</html>"


def bomb(content: bytes, member: str, size: int) -> bytes:
    """Replace a member by zeros, deflated."""
    return repack(content, lambda m: m.update({member: bytes(size)}), zipfile.ZIP_DEFLATED)


def twice(content: bytes) -> bytes:
    """Return an archive with two members of one name."""
    import warnings

    file = io.BytesIO(content)
    with warnings.catch_warnings(), zipfile.ZipFile(file, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
    return file.getvalue()


def overlapping(content: bytes) -> bytes:
    """Return an archive whose directory lists one large member many times under different names."""
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("archive/data/1", bytes(1 << 20))
        info = archive.infolist()[-1]
        for i in range(2, 4000):
            other = zipfile.ZipInfo(f"archive/data/{i}")
            for key in ("header_offset", "CRC", "compress_size", "file_size", "compress_type"):
                setattr(other, key, getattr(info, key))
            archive.filelist.append(other)
        archive._didModify = True
    return file.getvalue()


def legacy() -> Iterator[tuple[str, bytes]]:
    """Files of the format before torch 1.6: several pickles, then the storages."""
    good = saved({"model": {"x": torch.zeros(4)}}, _use_new_zipfile_serialization=False)
    head = pickle.dumps(MAGIC, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    for module, name in GLOBALS[:10]:
        yield f"legacy {module}.{name}", head + call(module, name, b"x", "reduce") + pickle.dumps([], 2)
    for part in range(1, 10):
        yield f"legacy truncated at {part}/10", good[: len(good) * part // 10]
    assert b"K\x04N" in good
    yield "legacy storage of 2^31", good.replace(b"K\x04N", b"J\xff\xff\xff\x7fN")
    yield "legacy without an end", head
    yield "legacy with half a head", pickle.dumps(MAGIC, 2)


def weights() -> Iterator[tuple[str, bytes]]:
    """Files that are well formed, but hold what a model cannot be given."""
    state = small_net().state_dict()

    def altered(key, value):
        return saved({"model": OrderedDict(state, **{key: value})})

    for value in (float("nan"), float("inf"), float("-inf")):
        yield f"weights of {value}", altered("0.weight", torch.full((4, 3, 3, 3), value))
        yield f"running mean of {value}", altered("1.running_mean", torch.full((4,), value))
    for dtype in (torch.int64, torch.int32, torch.uint8, torch.bool, torch.complex64, torch.complex128):
        yield f"weights of {dtype}", altered("0.weight", torch.zeros(4, 3, 3, 3, dtype=dtype))
    yield "quantised", altered("0.weight", torch.quantize_per_tensor(torch.zeros(4, 3, 3, 3), 1.0, 0, torch.qint8))
    yield "sparse", altered("0.weight", torch.zeros(4, 3, 3, 3).to_sparse())
    yield "meta", altered("0.weight", torch.zeros(4, 3, 3, 3, device="meta"))
    for value in ("text", 3, None, [1.0] * 4, {"a": 1}):
        yield f"weight is {value!r}", altered("0.weight", value)
    yield "another shape", altered("0.weight", torch.zeros(4, 3, 1, 1))
    yield "no axis", altered("0.weight", torch.tensor(0.0))
    yield "missing key", saved({"model": {"0.weight": state["0.weight"]}})
    yield "unexpected key", altered("more", torch.zeros(1))
    for value in (None, [], 3, "text", {}, {1: torch.zeros(1)}, {(1, 2): torch.zeros(1)}, torch.zeros(3)):
        yield f"model is a {type(value).__name__} {len(str(value))}", saved({"model": value})
    for value in ([], 3, "text", torch.zeros(3)):
        yield f"file is a {type(value).__name__}", saved(value)
    yield "a whole module", saved(small_net())


def arrays() -> Iterator[tuple[str, bytes]]:
    """Pickles of numpy arrays that are not what they say."""
    array = pickle.dumps({"model": {"0.weight": np.zeros((4, 3, 3, 3), "f4")}, "__author__": "x"}, protocol=2)
    # Protocol 2 writes a shape of four with a mark and a tuple.
    shape = b"(K\x04K\x03K\x03K\x03t"
    assert shape in array
    for name, new in (
        ("2^31", b"(J\xff\xff\xff\x7fK\x03K\x03K\x03t"),
        ("2^62", b"(\x8a\x08" + struct.pack("<Q", 1 << 62) + b"K\x03K\x03K\x03t"),
        ("-1", b"(J\xff\xff\xff\xffK\x03K\x03K\x03t"),
        ("a text", b"(X\x01\x00\x00\x00aK\x03K\x03K\x03t"),
    ):
        yield f"array shape of {name}", array.replace(shape, new)
    for number in (b"K\x01", b"X\x02\x00\x00\x00f8", b"N", b"}"):
        scalar = b"cnumpy.core.multiarray\nscalar\n(" + number + b"X\x08\x00\x00\x00abcdefghtR"
        yield f"scalar of {number[:1]!r}", b"\x80\x02}X\x05\x00\x00\x00model" + scalar + b"s."
    wide = b"K\x01" + b"q\x00" + b"".join(b"0(" + b"h%c" % i * 500 + b"tq%c" % (i + 1) for i in range(9))
    yield "tuples of 500, nine deep", b"\x80\x02}X\x05\x00\x00\x00model" + wide + b"s."
    for code in ("O8", "V0", "S4", "M8", "c8", "f3", "|", "(2,)f4", "f4,f4", "{'names':[]}"):
        text = b"X" + struct.pack("<I", len(code)) + code.encode()
        yield f"array of {code}", array.replace(b"X\x02\x00\x00\x00f4", text)
    for part in range(1, 8):
        yield f"array truncated at {part}/8", array[: len(array) * part // 8]
    for value in (float("nan"), float("inf")):
        state = {k: v.numpy() for k, v in small_net().state_dict().items()}
        state["0.weight"] = np.full((4, 3, 3, 3), value, "f4")
        yield f"array with {value}", pickle.dumps({"model": state, "__author__": "x"}, protocol=2)
    yield "list", pickle.dumps([1, 2])
    yield "flat texts", pickle.dumps({"a": "b"}, protocol=2)


def make_corpus(folder: Path, canary: Path) -> list[tuple[str, Path]]:
    """Write all of them; return their names and paths."""
    found = []
    pickles = [*programs(canary), *arrays()]
    kinds = [(".pth", ((n, with_pickle(p)) for n, p in pickles)), (".pth", tensors()), (".pth", legacy())]
    for suffix, files in [*kinds, (".pth", weights()), (".pkl", iter(pickles))]:
        for name, content in files:
            path = folder / f"{len(found):04d}{suffix}"
            path.write_bytes(content)
            found.append((f"{name} ({suffix})", path))
    return found
