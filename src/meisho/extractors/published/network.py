"""The torch part of a published model."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from meisho.documents import one_line
from meisho.errors import ConfigError, WeightsError
from meisho.extractors.backbone import create_backbone, fit_images, spread_tokens
from meisho.extractors.network import DescriptorNetwork
from meisho.extractors.options import TimmGeMOptions
from meisho.extractors.published.base import NOT_WHOLE, FinalWhitening, Published
from meisho.extractors.published.options import PublishedOptions
from meisho.extractors.weights import check_fit
from meisho.layers.pooling import POOLINGS, ClassToken, RegionalGeM

DEFAULTS = TimmGeMOptions()


class PublishedNetwork(DescriptorNetwork):
    """Backbone, what follows it, pooling, head; and the whitening at the end of all.

    Args:
        backbone: A timm model with its weights.
        published: How it is used.
        options: The pooling.
        whitening: What comes at the end, or None.
    """

    def __init__(
        self,
        backbone: nn.Module,
        published: Published,
        options: PublishedOptions,
        whitening: FinalWhitening | None,
    ) -> None:
        pooling = published.pooling or POOLINGS[options.pooling](options.p)
        super().__init__(backbone, pooling)
        self.traits = replace(self.traits, mean=published.mean, std=published.std)
        self.own_pooling = published.pooling is not None
        self.local = published.local or nn.Identity()
        self.projection = published.head or nn.Identity()
        self.scale_power, self.resizes_by_factor = published.scale_power, published.resizes_by_factor
        self.rescale = published.rescale if options.rescaling == "authors" else None
        self.whitening = None if whitening is None else _LastLayer(whitening)

    def forward(self, images: Tensor) -> Tensor:
        """Describe (B, 3, H, W) images, normalised by `traits` -> (B, D) float32, not L2-normalised."""
        features = self.backbone.forward_features(fit_images(images, self.traits))  # type: ignore[operator]
        if not self.own_pooling and not isinstance(self.pooling, ClassToken):
            features = spread_tokens(features, self.traits)
        features = self.local(features)
        pooled: Tensor = self.projection(self.pooling(features))
        return pooled

    def resize(self, images: Tensor, scale: float) -> Tensor:
        """Resize (B, 3, H, W) images, normalised by `traits`, as the authors do where that is asked for."""
        if self.rescale is not None and scale != 1:
            mean, std = (images.new_tensor(v).view(3, 1, 1) for v in (self.traits.mean, self.traits.std))
            return (self.rescale((images * std + mean) * 255, scale) / 255 - mean) / std
        if scale == 1 or not self.resizes_by_factor or min(images.shape[-2:]) * scale < 1:
            return super().resize(images, scale)
        return functional.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)

    def join_scales(self, described: Tensor, power: float) -> Tensor:
        """Make one descriptor of those of several scales, (S, B, D) -> (B, D'), and whiten it."""
        if power == 1 and self.scale_power != 1 and len(described) > 1:
            joined = described.clamp(min=0).pow(self.scale_power).mean(dim=0).pow(1 / self.scale_power)
        else:
            joined = super().join_scales(described, power)
        return joined if self.whitening is None else self.whitening(functional.normalize(joined))


class _LastLayer(nn.Module):
    def __init__(self, whitening: FinalWhitening) -> None:
        super().__init__()
        self.mean: Tensor
        self.projection: Tensor
        self.register_buffer("mean", torch.from_numpy(whitening.mean))
        self.register_buffer("projection", torch.from_numpy(whitening.projection))

    def forward(self, vectors: Tensor) -> Tensor:
        """Whiten (B, D) -> (B, D') float32; computed in float64, as the eigenvalues differ by far."""
        return ((vectors.double() - self.mean) @ self.projection.T).float()


def build_published(
    published: Published, options: PublishedOptions, whitening: FinalWhitening | None
) -> PublishedNetwork:
    """Build a published model with its weights, on the CPU.

    Raises:
        ConfigError: The pooling does not go with it.
        WeightsError: The weights do not fit the backbone.
    """
    if published.pooling is not None and (options.pooling, options.p) != (DEFAULTS.pooling, DEFAULTS.p):
        raise ConfigError("pooling and p: this model has a pooling of its own; leave them out")
    if options.projection_dim is not None:
        raise ConfigError("projection_dim: is what the file holds; to have fewer dimensions use a whitening")
    backbone = create_backbone(published.backbone)
    if published.trim is not None:
        published.trim(backbone)
    expected = backbone.state_dict()
    weights = {k: v.to(expected[k].dtype) if k in expected else v for k, v in published.weights.items()}
    check_fit(expected, weights, options.weights)
    backbone.load_state_dict(weights, strict=False)
    network = PublishedNetwork(backbone, published, options, whitening)
    if isinstance(network.pooling, ClassToken) and not network.traits.has_class_token:
        raise ConfigError("pooling='cls': this backbone has no class token; choose gem, avg or max")
    if isinstance(network.pooling, RegionalGeM) and network.traits.prefix_tokens:
        raise ConfigError("this backbone's features are tokens, without regions; choose gem, avg, max or cls")
    network.dim = _count_dimensions(network.eval(), options.weights)
    return network


@torch.inference_mode()
def _count_dimensions(network: PublishedNetwork, source: str) -> int:
    """Describe a grey image; what does not fit together shows here, before any photo."""
    try:
        described = network(torch.zeros(1, 3, 64, 64))
        network.join_scales(described[None], 1.0)
    except NOT_WHOLE as error:
        raise WeightsError(f"{source}: its layers do not fit together ({one_line(error, 200)})") from error
    if described.ndim != 2 or not torch.isfinite(described).all():
        raise WeightsError(f"{source}: gives no descriptor of finite numbers; the file may be damaged")
    return int(described.shape[1])
