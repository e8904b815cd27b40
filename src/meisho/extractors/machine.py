"""What this machine has for computing, found without importing torch."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from meisho.errors import ConfigError, MissingDependencyError


def split_device(device: str) -> tuple[str, int]:
    """Turn "auto", "cpu", "cuda" or "cuda:1" into its kind and number.

    Raises:
        ConfigError: It is none of these.
    """
    kind, sign, number = device.partition(":")
    known = ("cpu", "cuda") if sign else ("auto", "cpu", "cuda")
    if kind not in known or not (number.isdigit() or not sign):
        raise ConfigError(f"device={device!r}: choose auto, cpu or cuda")
    return kind, int(number or 0)


def has_cuda() -> bool:
    """Say whether torch is here and finds a CUDA GPU; torch is imported only where there are signs of one."""
    if not has_package("torch") or not _shows_gpu():
        return False
    import torch

    return torch.cuda.is_available()


def describe_device(device: str = "auto") -> str:
    """Say in words where networks compute: the GPU's name, or "cpu".

    Raises:
        ConfigError: There is no such device here.
    """
    kind, _ = split_device(device)
    if kind == "cpu" or (kind == "auto" and not has_cuda()):
        return "cpu"
    require_torch(f"device={device!r}")
    import torch

    from meisho.extractors.devices import choose_device

    return str(torch.cuda.get_device_name(choose_device(device)))


def has_package(name: str) -> bool:
    """Say whether a package can be imported, without importing it."""
    return find_spec(name) is not None


def require_torch(what: str, *, extra: str = "torch") -> None:
    """Refuse what needs torch where it is not installed.

    Args:
        what: For the message.
        extra: The optional dependencies of meisho that bring it.

    Raises:
        MissingDependencyError: torch or timm is not installed.
    """
    missing = [package for package in ("torch", "timm") if not has_package(package)]
    if missing:
        raise MissingDependencyError(
            f"{what} needs {' and '.join(missing)}; run pip install 'meisho[{extra}]'"
        )


def _shows_gpu() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return False
    signs = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg", "/proc/driver/nvidia/version")  # dxg: WSL
    return any(Path(sign).exists() for sign in signs) or shutil.which("nvidia-smi") is not None
