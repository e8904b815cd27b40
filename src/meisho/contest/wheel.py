"""The wheel of the meisho that runs here, put together from its own files: no build, no network.

`pip wheel` would need the source tree and a build backend; what is installed has neither. A wheel of a
package that is Python only is a zip of its files and of what its installation says about it.
"""

import base64
import hashlib
import zipfile
from importlib import metadata
from pathlib import Path

import meisho
from meisho.errors import MissingDependencyError
from meisho.files import replacing

_KEPT = ("entry_points.txt", "top_level.txt")
_TAG = "py3-none-any"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same files give the same wheel


def write_wheel(folder: Path) -> Path:
    """Write `meisho-VERSION-py3-none-any.whl` into a folder and return its path.

    Raises:
        MissingDependencyError: meisho runs from files that were never installed, so that nothing says what it
            needs.
    """
    try:
        distribution = metadata.distribution("meisho")
    except metadata.PackageNotFoundError as error:
        raise MissingDependencyError(
            "meisho is not installed here, so that its wheel cannot be made; run 'pip install -e .' in its "
            "folder"
        ) from error
    name = f"meisho-{distribution.version}"
    files = _package_files() | _information(distribution, f"{name}.dist-info")
    record = f"{name}.dist-info/RECORD"
    lines = [f"{path},{_digest(content)},{len(content)}" for path, content in files.items()]
    files[record] = "".join(f"{line}\n" for line in [*lines, f"{record},,"]).encode()
    path = folder / f"{name}-{_TAG}.whl"
    with replacing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, content in files.items():
            archive.writestr(zipfile.ZipInfo(place, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return path


def _package_files() -> dict[str, bytes]:
    package = Path(meisho.__file__).parent
    return {
        path.relative_to(package.parent).as_posix(): path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def _information(distribution: metadata.Distribution, folder: str) -> dict[str, bytes]:
    texts = {name: distribution.read_text(name) for name in _KEPT}
    texts["METADATA"] = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO")
    texts["WHEEL"] = f"Wheel-Version: 1.0\nGenerator: meisho\nRoot-Is-Purelib: true\nTag: {_TAG}\n"
    files = {f"{folder}/{name}": text.encode() for name, text in texts.items() if text}
    for path in distribution.files or []:
        if "licenses" in path.parts:
            place = "/".join(path.parts[path.parts.index("licenses") :])
            files[f"{folder}/{place}"] = Path(str(path.locate())).read_bytes()
    return files


def _digest(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"
