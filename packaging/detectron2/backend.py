"""PEP 517 backend: build a pure-Python wheel of Detectron2 v0.6 from its source archive."""

import base64
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from rewrites import apply

NAME, VERSION = "detectron2", "0.6+pure"
ARCHIVE = "pb1-detectron2==0.6"
SHA256 = "5d2e9e51e523ec72f6a31cca04b0a515492e9514b773a3d134cedc0677170b29"
PROJECTS = ("PointRend/point_rend", "DeepLab/deeplab", "Panoptic-DeepLab/panoptic_deeplab")
REQUIRES = (
    "Pillow>=7.1",
    "matplotlib",
    "numpy",
    "pycocotools>=2.0.2",
    "termcolor>=1.1",
    "yacs>=0.1.8",
    "tabulate",
    "cloudpickle",
    "tqdm>4.29.0",
    "tensorboard",
    "fvcore>=0.1.5",
    "iopath>=0.1.7",
    "omegaconf>=2.1,<2.4",
    "hydra-core>=1.1",
)


def build_wheel(
    wheel_directory: str, config_settings: dict | None = None, metadata_directory: str | None = None
) -> str:
    """Build the wheel into `wheel_directory` and return its file name (PEP 517)."""
    with tempfile.TemporaryDirectory() as folder:
        files = wheel_files(read_archive(fetch_archive(Path(folder))))
    name = f"{NAME}-{VERSION}-py3-none-any.whl"
    write_wheel(Path(wheel_directory) / name, files)
    return name


def fetch_archive(folder: Path) -> Path:
    """Download the archive from the package index that pip is set up for, and check its hash."""
    from unearth import PackageFinder

    finder = PackageFinder(
        index_urls=_index_urls(), find_links=_pip_setting("find-links"), no_binary=["pb1-detectron2"]
    )
    best = finder.find_best_match(ARCHIVE).best
    if best is None:
        raise RuntimeError(f"the package index has no {ARCHIVE}")
    finder.download_and_unpack(best.link, folder / "unpacked", download_dir=folder)
    path = folder / best.link.filename
    check_hash(path.read_bytes())
    return path


def check_hash(data: bytes) -> None:
    """Raise ValueError unless `data` is the archive that the rewrites were written for."""
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise ValueError(f"{ARCHIVE} has sha256 {found}, expected {SHA256}")


def read_archive(path: Path) -> dict[str, bytes]:
    """Return the files of the archive by their path below its top folder."""
    with tarfile.open(path) as archive:
        members = [m for m in archive.getmembers() if m.isfile()]
        return {str(PurePosixPath(*PurePosixPath(m.name).parts[1:])): archive.extractfile(m).read() for m in members}


def wheel_files(archive: dict[str, bytes]) -> dict[str, bytes]:
    """Arrange the files as they are installed: the bundled projects under `detectron2.projects`, `_C` in place."""
    files = {name: data for name, data in archive.items() if name.startswith("detectron2/")}
    for project in PROJECTS:
        prefix = f"projects/{project}/"
        for name, data in archive.items():
            if name.startswith(prefix):
                files[f"detectron2/projects/{project.split('/')[1]}/{name[len(prefix) :]}"] = data
    python = {name: data.decode() for name, data in files.items() if name.endswith(".py")}
    files.update({name: text.encode() for name, text in apply(python).items()})
    files["detectron2/_C.py"] = (Path(__file__).parent / "_C.py").read_bytes()
    info = f"{NAME}-{VERSION}.dist-info"
    metadata = [
        f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\nLicense: Apache-2.0",
        "Requires-Python: >=3.10",
    ]
    files[f"{info}/METADATA"] = "\n".join([*metadata, *(f"Requires-Dist: {r}" for r in REQUIRES), ""]).encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: diffkd_d2\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/LICENSE"] = archive["LICENSE"]
    return files


def write_wheel(path: Path, files: dict[str, bytes]) -> None:
    """Zip the files with their RECORD."""
    record = f"{NAME}-{VERSION}.dist-info/RECORD"
    lines = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in sorted(files.items()):
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            lines.append(f"{name},sha256={digest},{len(data)}")
            wheel.writestr(name, data)
        wheel.writestr(record, "\n".join([*lines, f"{record},,", ""]))


def _index_urls() -> list[str]:
    urls = _pip_setting("index-url") + _pip_setting("extra-index-url")
    if _pip_setting("index-url"):
        return urls
    from pip._internal.models.index import PyPI

    return [PyPI.simple_url, *urls]


def _pip_setting(name: str) -> list[str]:
    variable = os.environ.get(f"PIP_{name.upper().replace('-', '_')}")
    if variable is not None:
        return variable.split()
    command = [sys.executable, "-m", "pip", "config", "get", f"global.{name}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
