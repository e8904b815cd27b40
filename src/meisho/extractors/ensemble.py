"""Ensembles: several extractors as one, their descriptors side by side."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from meisho.arrays import Float32Array, UInt8Array
from meisho.descriptors import Provenance, concatenate_descriptors
from meisho.errors import InputError
from meisho.extractors.base import GlobalExtractor, load_extractor
from meisho.images import ImageOptions


class Ensemble:
    """Several global extractors as one: the dot product is the weighted mean of their cosines.

    See `extractors.base.GlobalExtractor`.

    Args:
        members: Two or more extractors, which take photos of the same size.
        weights: One for each, above 0; all alike when not given. Only their ratios matter.

    Raises:
        InputError: There are fewer than two, the weights cannot be, or the members need photos of different
            sizes.
    """

    def __init__(self, members: Sequence[GlobalExtractor], weights: Sequence[float] | None = None) -> None:
        given = [1.0] * len(members) if weights is None else [float(weight) for weight in weights]
        if len(members) < 2 or len(given) != len(members) or not all(0 < w < float("inf") for w in given):
            raise InputError(
                f"an ensemble of {len(members)} models with weights {given}: give two models or more, and a "
                "weight above 0 for each, for example ensemble:default*2+timm:resnet34"
            )
        self.members = tuple(members)
        self.weights = tuple(weight / sum(given) for weight in given)
        self.image_options = _common_image_options([member.image_options for member in members])
        self.dim = sum(member.dim for member in members)
        self.provenance = _describe_origin([member.provenance for member in members], given)

    def extract(self, images: UInt8Array) -> Float32Array:
        """Describe a batch: (B, H, W, 3) uint8 RGB -> (B, D) float32, L2-normalised rows."""
        return concatenate_descriptors([m.extract(images) for m in self.members], weights=self.weights)


def load_ensemble(
    rest: str = "",
    *,
    device: str = "auto",
    members: Sequence[Mapping[str, Any]] = (),
    member_weights: Sequence[float] | None = None,
    **options: object,
) -> Ensemble:
    """Load "default+timm:resnet34", or with weights "default*2+timm:resnet34".

    Args:
        rest: Model specifications with "+" between, each with "*WEIGHT" behind it where it is not 1.
        device: "auto", "cpu" or "cuda".
        members: What its provenance says, in place of `rest`: extractor and options of each.
        member_weights: The weights of `members`.
        **options: Options of every member, for example `max_side_px=512`.

    Raises:
        InputError: There are fewer than two models, or they do not go together.
        MeishoError: A member cannot be loaded, see `load_extractor`.
    """
    if members:
        loaded = [load_extractor(m["extractor"], device=device, **m["options"], **options) for m in members]
        return Ensemble(loaded, member_weights)
    specifications = [_parse_member(part) for part in rest.split("+")]
    loaded = [load_extractor(model, device=device, **options) for model, _ in specifications]
    return Ensemble(loaded, [weight for _, weight in specifications])


def _parse_member(text: str) -> tuple[str, float]:
    model, sign, weight = text.rpartition("*")
    if sign:
        try:
            return _absolute(model), float(weight)
        except ValueError as error:
            raise InputError(
                f"ensemble: {text!r} has no number behind '*'; say for example {model}*2"
            ) from error
    return _absolute(text), 1.0


def _absolute(model: str) -> str:
    """Return the path of a checkpoint such that it is found from any folder; a name stays as it is."""
    return str(Path(model).absolute()) if model and Path(model).exists() else model


def _common_image_options(options: list[ImageOptions]) -> ImageOptions:
    """Return how photos are loaded for all; each network fits their sides to its own patches itself."""
    multiple = max(each.multiple_px for each in options)
    alike = {replace(each, multiple_px=multiple) for each in options}
    if len(alike) > 1:
        sizes = ", ".join(f"{each.max_side_px} px {each.interpolation}" for each in options)
        raise InputError(
            f"the models of an ensemble take photos of different sizes ({sizes}); give one for all, --size"
        )
    return alike.pop()


def _describe_origin(members: list[Provenance], weights: list[float]) -> Provenance:
    described = [
        {"extractor": m.extractor, "options": m.values, "weights_sha256": m.weights_sha256} for m in members
    ]
    digest = hashlib.sha256("+".join(m.weights_sha256 for m in members).encode()).hexdigest()
    return Provenance.from_options("ensemble", {"members": described, "member_weights": weights}, digest)
