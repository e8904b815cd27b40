"""Export: a checkpoint -> ONNX, checked against the network that it came from."""

import importlib.util
import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from meisho import __version__
from meisho.errors import InputError, MissingDependencyError, WeightsError
from meisho.extractors.base import load_extractor
from meisho.extractors.onnx_file import INSIDE
from meisho.extractors.timm_gem import TimmGeM, to_torch
from meisho.files import replacing
from meisho.images import ImageOptions
from meisho.outputs import MODEL, check_output, model_files
from meisho.whitening import Whitening

OPSET = 18
TOLERANCE = 1e-4
"""Of each value of an L2-normalised descriptor, between ONNX Runtime and torch."""


@dataclass(frozen=True)
class ExportSummary:
    """What was written.

    Attributes:
        path: The ONNX file.
        dim: D, of the descriptors.
        largest_difference: Between ONNX Runtime and torch, over images of several shapes.
        image_options: How photos must be brought to the size of its input.
        fixed_size_px: Height and width, where the network takes no others.
    """

    path: Path
    dim: int
    largest_difference: float
    image_options: ImageOptions
    fixed_size_px: tuple[int, int] | None


class PixelsToDescriptors(nn.Module):
    """From pixels to L2-normalised descriptors: what the ONNX file computes.

    Args:
        extractor: Whose network, normalisation and whitening are taken.
    """

    def __init__(self, extractor: TimmGeM) -> None:
        super().__init__()
        self.network = extractor.network
        traits = extractor.network.traits
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (traits.mean, traits.std))
        self.gain: Tensor
        self.bias: Tensor
        self.register_buffer("gain", 1 / (255 * std))
        self.register_buffer("bias", -mean / std)
        self.whitening = _linear(extractor.whitening) if extractor.whitening is not None else None

    def forward(self, images: Tensor) -> Tensor:
        """Describe (B, 3, H, W) float32 RGB from 0 to 255 -> (B, D) float32, L2-normalised."""
        described = functional.normalize(self.network(images * self.gain + self.bias))
        return described if self.whitening is None else functional.normalize(self.whitening(described))


def export_onnx(model: str, path: Path, *, side_px: int = 256) -> ExportSummary:
    """Write a model as ONNX, and compare the two on images of other shapes and numbers.

    The input "images" is (B, 3, H, W) float32 RGB from 0 to 255, already resized; the output "descriptors" is
    (B, D) float32, L2-normalised, at one scale. `load_extractor("onnx:FILE")` reads it, averages the scales
    that the model has, and has its provenance; for other programs, how photos become images stands in the
    file's metadata, see `input_facts`.

    Args:
        model: A model, as `meisho index --model` takes it.
        path: The file to write.
        side_px: Side of the image that the network is traced with, unless it takes one size only.

    Raises:
        InputError: The model is no network of this project, does what ONNX has no operator for, or whitens
            the mean of several scales; or the file is there and is no exported model.
        MissingDependencyError: onnx or onnxruntime is not installed.
        WeightsError: The exported network does not compute the same.
    """
    check_output(path, MODEL, inputs=model_files(model))
    _require_onnx()
    extractor = to_torch(load_extractor(model, device="cpu"), device="cpu")
    _check_scales(model, extractor)
    network = PixelsToDescriptors(extractor).eval().to(memory_format=torch.contiguous_format)
    fixed = extractor.network.traits.fixed_size_px
    images = _some_images(2, *(fixed or (side_px, side_px)))
    with replacing(path) as part:
        try:
            _export(network, images, part)
        except torch.onnx.OnnxExporterError as error:
            raise InputError(
                f"{model}: ONNX cannot say what this network does ({_first_sentence(error)}); "
                "transformers that resize their embeddings of positions cannot be exported"
            ) from error
        _add_metadata(part, input_facts(extractor))
        largest = max(_difference(part, network, shape) for shape in _other_shapes(extractor, side_px))
        if not largest <= TOLERANCE:
            raise WeightsError(f"{path}: ONNX Runtime and torch differ by {largest:.2g}; it was not written")
    return ExportSummary(path, extractor.dim, largest, extractor.image_options, fixed)


def input_facts(extractor: TimmGeM) -> dict[str, str]:
    """Return all that is needed to use the ONNX file, as text; lists are JSON."""
    traits, provenance = extractor.network.traits, extractor.provenance
    options = provenance.values | {"weights": INSIDE}
    options["whitening"] = options["whitening"] and INSIDE
    facts = {
        "layout": "NCHW",
        "colors": "RGB",
        "range": "0 to 255",
        **extractor.image_options.values,
        "normalization": "inside: (pixels / 255 - mean) / std",
        "mean": traits.mean,
        "std": traits.std,
        "dim": extractor.dim,
        "model": provenance.extractor,
        "scales": options["scales"],
        "options": options,
        "weights_sha256": provenance.weights_sha256,
        "meisho": __version__,
    }
    if traits.fixed_size_px is not None:
        facts["fixed_size_px"] = traits.fixed_size_px
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}


def _check_scales(model: str, extractor: TimmGeM) -> None:
    scales = extractor.provenance.values["scales"]
    if extractor.whitening is not None and len(scales) > 1:
        raise InputError(
            f"{model}: whitens the mean of its scales {scales}, and the file computes one; "
            "fit the whitening for one scale, or leave it out"
        )


def _first_sentence(error: Exception) -> str:
    return str(error).partition(". ")[0].partition("\n")[0]


def _add_metadata(path: Path, facts: dict[str, str]) -> None:
    import onnx

    model = onnx.load(path)
    onnx.helper.set_model_props(model, facts)
    onnx.save(model, path)


def _require_onnx() -> None:
    for package in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(f"export needs {package}; run pip install 'meisho[export]'")


def _export(network: nn.Module, images: Tensor, path: Path) -> None:
    with warnings.catch_warnings():
        # torch warns of sizes that it traces as numbers, and of newer exporters; `_difference` is
        # what tells whether the result is right
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (images,),
            str(path),
            input_names=["images"],
            output_names=["descriptors"],
            dynamic_axes={
                "images": {0: "batch", 2: "height", 3: "width"},
                "descriptors": {0: "batch"},
            },
            opset_version=OPSET,
            dynamo=False,
        )


@torch.no_grad()
def _difference(path: Path, network: nn.Module, shape: tuple[int, int, int]) -> float:
    """Return the largest difference of a value between ONNX Runtime and torch."""
    import onnxruntime

    images = _some_images(*shape)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"], enable_fallback=0)
    (described,) = session.run(["descriptors"], {"images": images.numpy()})
    return float((torch.from_numpy(described) - network(images)).abs().max())


def _other_shapes(extractor: TimmGeM, side_px: int) -> list[tuple[int, int, int]]:
    fixed = extractor.network.traits.fixed_size_px
    if fixed is not None:
        return [(1, *fixed), (3, *fixed)]
    step = extractor.image_options.multiple_px
    longer = side_px + step
    return [(1, side_px, side_px), (3, longer, side_px), (1, side_px, longer + step)]


def _some_images(count: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator).float()


def _linear(whitening: Whitening) -> nn.Linear:
    """Return a whitening as a layer: projection (x - mean)."""
    projection, mean = torch.from_numpy(whitening.projection.copy()), torch.from_numpy(whitening.mean.copy())
    layer = nn.Linear(projection.shape[1], projection.shape[0])
    with torch.no_grad():
        layer.weight.copy_(projection)
        layer.bias.copy_(-projection @ mean)
    return layer
