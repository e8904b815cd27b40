"""What is installed: packages with their versions, and the extras of meisho that are there or missing."""

import re
from dataclasses import dataclass
from importlib import metadata

EXTRAS = {
    "torch": "any backbone of timm, GPUs, bf16",
    "local": "the local features XFeat",
    "aliked": "the local features ALIKED with LightGlue",
    "train": "training",
    "export": "ONNX files that need no torch afterwards",
    "graph": "the rerankers k-reciprocal and diffusion",
    "plots": "plots as PNG and SVG",
    "serve": "the page in the browser, and the API",
    "heic": "the photos of iPhones",
    "raw": "the RAW photos of cameras",
    "kaggle": "downloads from Kaggle",
    "ransac": "PoseLib and degensac",
    "milvus": "an engine beyond one machine: --engine milvus:URI",
    "cluster": "describing on several machines: --cluster ray",
    "s3": "collections and photos in an object store: s3://BUCKET/NAME",
}
"""Extra of pyproject.toml -> what it is for, in the order in which they are shown."""
_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[([\w,-]+)])?[^;]*(?:;\s*extra\s*==\s*[\"']([\w-]+)[\"'])?$")


@dataclass(frozen=True)
class Extra:
    """One set of optional packages.

    Attributes:
        name: As in `pip install 'meisho[NAME]'`.
        purpose: What it is for.
        missing: Its packages that are not installed; nothing where it is complete.
        install: The command that brings them; None where it is complete.
    """

    name: str
    purpose: str
    missing: tuple[str, ...]
    install: str | None


def installed_version(package: str) -> str | None:
    """Return the version of a package as pip knows it; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def read_requirements() -> dict[str, list[str]]:
    """Return what meisho needs: "" and each extra -> names of packages, those of extras inside it too.

    Where meisho runs without having been installed, nothing is known and all lists are empty.
    """
    try:
        lines = metadata.requires("meisho") or []
    except metadata.PackageNotFoundError:
        lines = []
    direct: dict[str, list[tuple[str, str]]] = {"": []}
    for line in lines:
        if found := _REQUIREMENT.match(line):
            direct.setdefault(found[3] or "", []).append((found[1], found[2] or ""))
    return {extra: _resolve(extra, direct) for extra in direct}


def list_extras() -> list[Extra]:
    """Return every extra with what of it is missing; a package that stands in several counts in each."""
    needed = read_requirements()
    found = []
    for name, purpose in EXTRAS.items():
        missing = tuple(p for p in needed.get(name, []) if installed_version(p) is None)
        install = f"pip install 'meisho[{name}]'" if missing else None
        found.append(Extra(name, purpose, missing, install))
    return found


def _resolve(extra: str, direct: dict[str, list[tuple[str, str]]]) -> list[str]:
    names: list[str] = []
    for package, inner in direct.get(extra, []):
        if package == "meisho":
            names += [name for part in inner.split(",") for name in _resolve(part, direct)]
        else:
            names.append(package)
    return list(dict.fromkeys(names))
