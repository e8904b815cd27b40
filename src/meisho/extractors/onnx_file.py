"""Global descriptors from a file that `meisho export` wrote: trained with torch, used without."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from meisho.arrays import Float32Array, UInt8Array
from meisho.config import parse_config
from meisho.documents import is_there, parse_json
from meisho.errors import ConfigError, MissingFileError, WeightsError
from meisho.extractors.machine import split_device
from meisho.extractors.numpy_pooling import pool_scales
from meisho.extractors.onnx_session import OnnxNetwork, describe_each, fit_pixels, resize_pixels
from meisho.extractors.options import SCALE_POWERS, TimmGeMOptions
from meisho.extractors.timm_parts import describe_batch, describe_origin, image_options_of, trace_origin

INSIDE = ".onnx"
"""What the options in the file say for places: the file itself, wherever it is by then."""

_MOST_SIDE_PX = 10_000
_FREE = ("max_side_px", "multiple_px", "interpolation", "scales", "whitening", "enlarge")
"""Options that say what is done before and after the network; the others are inside and cannot be changed."""


@dataclass(frozen=True)
class _Said:
    """The JSON among a file's metadata; `size` is height and width in px."""

    options: dict[str, object]
    size: tuple[int, ...]


@dataclass(frozen=True)
class _Facts:
    """What a file's metadata say of the model; `digest` covers a whitening that is inside, too."""

    backbone: str
    options: TimmGeMOptions
    digest: str
    dim: int
    fixed_size_px: tuple[int, int] | None


class OnnxFile:
    """A global extractor from an exported file, on the CPU; see `extractors.base.GlobalExtractor`.

    Its provenance is that of the model that was exported, except for where the weights are.

    Args:
        path: The file.
        name: timm's name of the backbone that it must have; "" takes any.
        given: Options of `TimmGeMOptions`; they replace those of the file where they may.

    Attributes:
        dim: D, the number of dimensions.
        provenance: Model, options and digest of the weights.
        image_options: How photos must be loaded.
        whitening: What comes after the network and is not inside, or None.
        is_light: True, see `extractors.restoring.is_light`.

    Raises:
        WeightsError: There is no such file, or another program wrote it.
        ConfigError: An option is not known, or says something else than the file.
        MismatchError: The whitening was fitted on other descriptors.
    """

    is_light = True

    def __init__(self, path: Path, name: str = "", given: dict[str, Any] | None = None) -> None:
        if not is_there(path):
            raise MissingFileError(f"{path}: no such file; 'meisho export' makes one")
        self._network = OnnxNetwork(path)
        facts = _read_facts(path, self._network.metadata)
        if name not in ("", facts.backbone):
            raise WeightsError(f"{path}: holds the backbone {facts.backbone!r}, not {name!r}")
        options = _choose_options(path, facts.options, given or {})
        self.image_options = image_options_of(options)
        self.whitening = None
        if facts.options.whitening is not None:
            self.provenance = describe_origin(f"timm:{facts.backbone}", options, facts.digest)
        else:
            self.provenance, self.whitening = trace_origin(f"timm:{facts.backbone}", options, facts.digest)
        self.dim = facts.dim if self.whitening is None else self.whitening.dim
        self._path, self._file_dim, self._fixed_size_px = path, facts.dim, facts.fixed_size_px
        self._scales, self._scale_power = options.scales, SCALE_POWERS.get(options.pooling, 1.0)

    def extract(self, images: UInt8Array) -> Float32Array:
        """Describe a batch: (B, H, W, 3) uint8 RGB -> (B, D) float32, L2-normalised rows.

        Raises:
            InputError: The images are of another shape or type.
        """
        return describe_batch(
            images,
            lambda batch: describe_each(batch, self._describe),
            dim=self.dim,
            whitening=self.whitening,
        )

    def _describe(self, image: UInt8Array) -> Float32Array:
        pixels = image.astype(np.float32)
        resized = [fit_pixels(resize_pixels(pixels, scale), self._fixed_size_px) for scale in self._scales]
        described = [np.asarray(self._network.run(part)) for part in resized]
        if shapes := {each.shape for each in described} - {(self._file_dim,)}:
            raise WeightsError(
                f"{self._path}: gives {shapes.pop()} for an image, not ({self._file_dim},) as it says; "
                "export the model again"
            )
        return pool_scales(np.stack(described), self._scale_power)


def load_onnx(path: str, *, device: str = "auto", **options: Any) -> OnnxFile:
    """Load what `meisho export` wrote.

    Args:
        path: The .onnx file.
        device: "auto" or "cpu".
        **options: Those of `TimmGeMOptions`; only those that say how the network is fed can be changed.

    Raises:
        WeightsError: There is no such file, or another program wrote it.
        ConfigError: An option cannot be changed, or the device is no CPU.
    """
    _check_device(device)
    absolute = Path(path).absolute()  # a collection remembers it, and may be used from any folder
    return OnnxFile(absolute, given=options)


def load_exported(name: str, *, device: str = "auto", **options: Any) -> OnnxFile:
    """Load an exported file as a provenance names it: by the backbone, and the file as `weights`."""
    _check_device(device)
    return OnnxFile(Path(options["weights"]).absolute(), name, options)


def _check_device(device: str) -> None:
    if split_device(device)[0] == "cuda":
        raise ConfigError(
            f"device={device!r}: an exported model runs on the CPU; take the checkpoint for CUDA"
        )


def _read_facts(path: Path, metadata: dict[str, str]) -> _Facts:
    try:
        kind, _, backbone = metadata["model"].partition(":")
        said = f'{{"options": {metadata["options"]}, "size": {metadata.get("fixed_size_px", "[0, 0]")}}}'
        fields = parse_json(said, source="its metadata", error=ConfigError)
        options = TimmGeMOptions.from_mapping(dict(fields.table("options").values))
        image_options_of(options)  # refuses ways to load photos that there are not
        height, width = parse_config(fields.values, _Said, source="its metadata").size
        fixed = (height, width) if height or width else None
        if fixed and not (0 < height <= _MOST_SIDE_PX and 0 < width <= _MOST_SIDE_PX):
            raise ValueError(f"images of {width} × {height} px")
        facts = _Facts(backbone, options, metadata["weights_sha256"], int(metadata["dim"]), fixed)
    except (LookupError, ArithmeticError, ValueError, TypeError, ConfigError) as error:
        raise WeightsError(
            f"{path}: is no model that this version of 'meisho export' wrote "
            f"({type(error).__name__}: {error}); export the checkpoint with it"
        ) from error
    if kind != "timm":
        raise WeightsError(f"{path}: holds a model of another kind, {metadata['model']!r}")
    return facts


def _choose_options(path: Path, saved: TimmGeMOptions, given: dict[str, Any]) -> TimmGeMOptions:
    """Return the options of the file with those that were given, where the file leaves a choice."""
    if "weights" in given and Path(given["weights"]).absolute() != path:
        raise ConfigError(f"weights={given['weights']!r}: the weights of {path} are inside")
    is_whitened = saved.whitening is not None
    here = replace(saved, weights=str(path), whitening=str(path) if is_whitened else None)
    current = {field.name: getattr(here, field.name) for field in fields(here)}
    wished = TimmGeMOptions.from_mapping({**current, **given, "weights": str(path)})
    free = () if is_whitened else _FREE  # a whitening fits no other descriptors than it was fitted on
    for name, value in current.items():
        if name not in free and getattr(wished, name) != value:
            raise ConfigError(
                f"{name}={getattr(wished, name)!r}: {path} was exported with {name}="
                f"{getattr(saved, name)!r}, which is inside and cannot be changed; export the model again"
            )
    return wished
