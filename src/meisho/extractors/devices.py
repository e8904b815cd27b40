"""Devices: where torch's networks compute, and in which precision."""

from contextlib import AbstractContextManager, nullcontext

import torch

from meisho.errors import ConfigError
from meisho.extractors.machine import split_device

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(device: str) -> torch.device:
    """Turn "auto", "cpu", "cuda" or "cuda:1" into a device; "auto" is CUDA where there is one.

    Raises:
        ConfigError: There is no such device here.
    """
    kind, number = split_device(device)
    if kind == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cuda" and number >= torch.cuda.device_count():
        raise ConfigError(f"device={device!r}: torch finds {torch.cuda.device_count()} CUDA devices here")
    return torch.device(device)


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that the device does not have.

    Raises:
        ConfigError: Saying what to choose.
    """
    if precision == "fp16" and device.type != "cuda":
        raise ConfigError(f"precision='fp16' needs CUDA; on {device.type} choose float32 or bf16")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ConfigError("precision='bf16': this GPU has no bfloat16; choose fp16 or float32")


def computing_in(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which a network computes in a precision; parameters stay float32.

    Every CPU computes bf16; one without instructions for it is slow at it.
    """
    if precision in _AUTOCAST:
        return torch.autocast(device.type, dtype=_AUTOCAST[precision])
    if device.type == "cuda":  # cuDNN's default, TF32, differs by 1e-3 with the size of the batch
        flags: AbstractContextManager[object] = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        return flags
    return nullcontext()
