"""Backbones: any timm model by name, with what is needed to feed it and to read its features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg, split_model_name_tag
from torch import Tensor, nn
from torch.nn import functional

from meisho.errors import InputError, WeightsError
from meisho.extractors.timm_parts import MIN_SIDE_PX
from meisho.extractors.weights import fetch_hub_file
from meisho.tables import find_nearest


@dataclass(frozen=True)
class BackboneTraits:
    """What must be known about a backbone to use it.

    Attributes:
        dim: C, the number of channels of its features.
        mean: Per channel, of pixel values scaled to [0, 1].
        std: Per channel, likewise.
        multiple_px: Both sides of an image must be multiples of this.
        fixed_size_px: (height, width), where it takes no other size; else None.
        channels_last: Whether its maps are (B, H, W, C).
        has_class_token: Whether its first token stands for the whole image.
        prefix_tokens: Tokens before the patch tokens: the class token, registers.
        classifier: Names of the layers that its pretrained weights have and the backbone does not.
        num_classes: Outputs of these.
    """

    dim: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    multiple_px: int
    fixed_size_px: tuple[int, int] | None
    channels_last: bool
    has_class_token: bool
    prefix_tokens: int
    classifier: tuple[str, ...]
    num_classes: int = 1000


def create_backbone(name: str, *, pretrained: bool = False, seed: int = 0) -> nn.Module:
    """Create a timm model without its classifier, in evaluation mode.

    Args:
        name: A timm model, with a tag or without: "resnet34", "resnet34.a1_in1k".
        pretrained: Whether to load timm's pretrained weights from the hub.
        seed: Seeds the random weights that it has otherwise; torch's own generators are left as they were.

    Raises:
        InputError: timm has no such model; the nearest names are given.
        WeightsError: The pretrained weights cannot be had.
    """
    _check_name(name)
    settings: dict[str, Any] = {"num_classes": 0}
    if pretrained:
        # the hub's files are plain weights, also where timm reads those of the first publisher its own way
        overlay = {"file": str(_fetch_pretrained(name)), "custom_load": False}
        settings |= {"pretrained": True, "pretrained_cfg_overlay": overlay}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs' generators too
        return _create_with_any_size(name, settings).eval()


def _create_with_any_size(name: str, settings: dict[str, Any]) -> nn.Module:
    config = get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        for loosen in ({"dynamic_img_size": True}, {"strict_img_size": False}):  # ViT-like, Swin-like
            try:
                model: nn.Module = timm.create_model(name, **settings, **loosen)
                return model
            except TypeError as error:
                if next(iter(loosen)) not in str(error):
                    raise
    model = timm.create_model(name, **settings)
    return model


def _check_name(name: str) -> None:
    base, tag = split_model_name_tag(name)
    if not timm.is_model(base):
        near = find_nearest(base, timm.list_models(), most=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() lists them"
        raise InputError(f"timm has no model {base!r}; {hint}")
    tags = [m.partition(".")[2] for m in timm.list_pretrained(f"{base}.*")]
    if tag and tag not in tags:
        raise InputError(f"timm's {base!r} has no weights tagged {tag!r}; tags: {', '.join(tags) or 'none'}")


def _fetch_pretrained(name: str) -> Any:
    config = get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise WeightsError(
            f"timm has no pretrained weights on a hub for {name!r}; give weights=PATH to a file, or choose "
            "one of timm.list_pretrained()"
        )
    return fetch_hub_file(config.hf_hub_id)


def read_traits(model: nn.Module) -> BackboneTraits:
    """Read from a timm model how it is used."""
    config: dict[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    fixed = _has_fixed_size(model, config)
    classifier = config.get("classifier") or ()
    return BackboneTraits(
        dim=int(model.num_features),  # type: ignore[arg-type]
        mean=tuple(config.get("mean") or (0.5, 0.5, 0.5)),
        std=tuple(config.get("std") or (0.5, 0.5, 0.5)),
        multiple_px=_patch_px(model) if config.get("fixed_input_size") and not fixed else 1,
        fixed_size_px=_input_size(model, config) if fixed else None,
        channels_last=str(getattr(model, "output_fmt", "NCHW")).endswith("NHWC"),
        has_class_token=getattr(model, "cls_token", None) is not None,
        prefix_tokens=int(getattr(model, "num_prefix_tokens", 0)),
        classifier=(classifier,) if isinstance(classifier, str) else tuple(classifier),
        num_classes=int(config.get("num_classes") or 1000),
    )


def _has_fixed_size(model: nn.Module, config: dict[str, Any]) -> bool:
    if not config.get("fixed_input_size"):
        return False
    patches = getattr(model, "patch_embed", None)
    return not (
        getattr(model, "dynamic_img_size", False) or getattr(patches, "strict_img_size", True) is False
    )


def _input_size(model: nn.Module, config: dict[str, Any]) -> tuple[int, int]:
    size = getattr(getattr(model, "patch_embed", None), "img_size", None) or config["input_size"][1:]
    return int(size[0]), int(size[1])


def _patch_px(model: nn.Module) -> int:
    size: int | Sequence[int] = getattr(getattr(model, "patch_embed", None), "patch_size", 1)
    return int(size) if isinstance(size, int) else int(max(size))


def fit_images(images: Tensor, traits: BackboneTraits) -> Tensor:
    """Bring (B, 3, H, W) float images to a shape that the backbone takes.

    Small images are padded to 32 px by repeating their edge; sides become multiples of the patch by bicubic
    resizing, and where the backbone takes one size only, that size.
    """
    height, width = images.shape[-2:]
    if min(height, width) < MIN_SIDE_PX:
        below, right = max(0, MIN_SIDE_PX - height), max(0, MIN_SIDE_PX - width)
        images = functional.pad(images, (0, right, 0, below), mode="replicate")
        height, width = images.shape[-2:]
    size = traits.fixed_size_px or (
        round_to_multiple(height, traits.multiple_px),
        round_to_multiple(width, traits.multiple_px),
    )
    if size == (height, width):
        return images
    return functional.interpolate(images, size=size, mode="bicubic", antialias=True)


def round_to_multiple(length: int, multiple: int) -> int:
    """Return the multiple of `multiple` that is nearest to `length`, at least one of them."""
    return max(1, (2 * length + multiple) // (2 * multiple)) * multiple


def spread_tokens(features: Tensor, traits: BackboneTraits) -> Tensor:
    """Turn a backbone's features into a (B, C, H', W') map; of tokens, the patch tokens as (B, C, T, 1)."""
    if features.ndim == 3:
        return features[:, traits.prefix_tokens :].transpose(1, 2).unsqueeze(-1)
    return features.permute(0, 3, 1, 2) if traits.channels_last else features
