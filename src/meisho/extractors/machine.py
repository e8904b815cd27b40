"""What this machine has for computing, found without importing torch."""

import os
import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from meisho.errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:  # commands check --device before NumPy may be imported: see meisho.cores
    from meisho.extractors.base import GlobalExtractor

BF16_HINT = (
    "this processor computes in bf16: in a new collection, --precision bf16 would describe about 1.7 times "
    "as fast, with descriptors that differ a little (cosine 0.999)"
)
"""Measured by benchmarks/bench_precision.py."""
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""AVX512-BF16 and AMX of x86, BF16 of ARM."""


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
    if not has_package("torch") or not shows_gpu():
        return False
    import torch

    return torch.cuda.is_available()


def computes_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool | None:
    """Say whether the processor has instructions for bf16; None where the system does not tell.

    Args:
        cpuinfo: Where Linux lists what each core has.
    """
    flags = processor_flags(cpuinfo)
    return not _BF16_FLAGS.isdisjoint(flags) if flags else None


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return what the processor says it has, such as "avx2"; nothing where the system does not tell.

    Args:
        cpuinfo: Where Linux lists what each core has.
    """
    try:
        flags = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo.read_text(), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return frozenset()
    return frozenset(flags[1].split()) if flags else frozenset()


def why_slow_in_bf16(device: str = "auto", *, has_bf16: bool | None = None) -> str | None:
    """Say that bf16 would be slow on a device; None where it is not, or where nobody can tell.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:1".
        has_bf16: Whether the processor computes in it; None: as `computes_bf16` says.
    """
    kind, _ = split_device(device)
    slow = (computes_bf16() if has_bf16 is None else has_bf16) is False
    if not slow or kind == "cuda" or (kind == "auto" and has_cuda()):
        return None
    return (
        "this processor has no instructions for bf16 (AVX512-BF16, AMX): it computes it more slowly than "
        "float32; leave out --precision bf16, or use a GPU"
    )


def how_to_describe_faster(extractor: "GlobalExtractor", *, has_bf16: bool | None = None) -> str:
    """Say what would describe photos in less time than an extractor does here.

    Args:
        extractor: What describes them now.
        has_bf16: Whether the processor computes in bf16; None: as `computes_bf16` says.
    """
    members = getattr(extractor, "members", (extractor,))  # of an ensemble
    devices = {str(getattr(member, "device", "")).partition(":")[0] for member in members}
    in_float32 = any(m.provenance.values.get("precision") == "float32" for m in members)
    if "cuda" in devices:
        return "in a new collection, --precision bf16 would help" if in_float32 else "a faster GPU would help"
    has_bf16 = computes_bf16() if has_bf16 is None else has_bf16
    if in_float32 and has_bf16 and "cpu" in devices:  # what has no device is not computed by torch
        return BF16_HINT
    return "a GPU would help"


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


def shows_gpu() -> bool:
    """Say whether there are signs of an NVIDIA GPU, be torch here or not."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return False
    signs = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg", "/proc/driver/nvidia/version")  # dxg: WSL
    return any(Path(sign).exists() for sign in signs) or shutil.which("nvidia-smi") is not None
