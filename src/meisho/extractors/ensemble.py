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
from meisho.extractors.restoring import is_light
from meisho.extractors.timm_parts import whiten_origin
from meisho.images import ImageOptions


class Ensemble:
    """Several global extractors as one: the dot product is the weighted mean of their cosines.

    See `extractors.base.GlobalExtractor`.

    Args:
        members: Two or more extractors, which take photos of the same size.
        weights: One for each, above 0; all alike when not given. Only their ratios matter.
        whitening: Path of a saved `Whitening` of such descriptors that is applied at the end, or None.

    Raises:
        InputError: There are fewer than two, the weights cannot be, or the members need photos of different
            sizes.
        WeightsError: The whitening cannot be read.
        MismatchError: It was fitted on other descriptors.
    """

    def __init__(
        self,
        members: Sequence[GlobalExtractor],
        weights: Sequence[float] | None = None,
        *,
        whitening: str | None = None,
    ) -> None:
        given = [1.0] * len(members) if weights is None else [float(weight) for weight in weights]
        if len(members) < 2 or len(given) != len(members) or not all(0 < w < float("inf") for w in given):
            raise InputError(
                f"an ensemble of {len(members)} models with weights {given}: give two models or more, and a "
                "weight above 0 for each, for example ensemble:default*2+timm:resnet34"
            )
        self.members = tuple(members)
        self.weights = tuple(weight / sum(given) for weight in given)
        self.image_options = _common_image_options([member.image_options for member in members])
        plain = _describe_origin([member.provenance for member in members], given)
        self.provenance, self.whitening = whiten_origin(plain, whitening)
        self.dim = sum(m.dim for m in members) if self.whitening is None else self.whitening.dim
        self.is_light = all(is_light(member) for member in members)

    def extract(self, images: UInt8Array) -> Float32Array:
        """Describe a batch: (B, H, W, 3) uint8 RGB -> (B, D) float32, L2-normalised rows."""
        joined = concatenate_descriptors([m.extract(images) for m in self.members], weights=self.weights)
        return joined if self.whitening is None else self.whitening.transform(joined)


def load_ensemble(
    rest: str = "",
    *,
    device: str = "auto",
    members: Sequence[Mapping[str, Any]] = (),
    member_weights: Sequence[float] | None = None,
    whitening: str | None = None,
    **options: object,
) -> Ensemble:
    """Load "default+timm:resnet34", or with weights "default*2+timm:resnet34".

    Args:
        rest: Model specifications with "+" between, each with "*WEIGHT" behind it where it is not 1.
        device: "auto", "cpu" or "cuda".
        members: What its provenance says, in place of `rest`: extractor and options of each.
        member_weights: The weights of `members`.
        whitening: Path of a saved whitening that comes after all of them, or None.
        **options: Options of every member, for example `max_side_px=512`.

    Raises:
        InputError: There are fewer than two models, or they do not go together.
        MeishoError: A member cannot be loaded, see `load_extractor`.
    """
    if members:
        loaded = [load_extractor(m["extractor"], device=device, **m["options"], **options) for m in members]
        return Ensemble(loaded, member_weights, whitening=whitening)
    specifications = [_parse_member(part) for part in rest.split("+")]
    loaded = [load_extractor(model, device=device, **options) for model, _ in specifications]
    return Ensemble(loaded, [weight for _, weight in specifications], whitening=whitening)


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
