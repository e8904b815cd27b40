"""The torch part of a global extractor: backbone, pooling, projection; and how its weights are loaded."""

import logging
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from meisho.errors import ConfigError, WeightsError
from meisho.extractors.backbone import (
    BackboneTraits,
    create_backbone,
    fit_images,
    read_traits,
    spread_tokens,
)
from meisho.extractors.first_publishers import name_as_timm
from meisho.extractors.options import TimmGeMOptions
from meisho.extractors.packaged_weights import is_packaged, read_packaged
from meisho.extractors.weights import StateDict, check_fit, read_state_dict
from meisho.layers.pooling import POOLINGS, ClassToken, RegionalGeM, pool_scales

_logger = logging.getLogger(__name__)


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
        self.projection: nn.Module = nn.Linear(self.traits.dim, self.dim) if projection_dim else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Describe (B, 3, H, W) images, normalised by `traits` -> (B, D) float32, not L2-normalised."""
        features = self.backbone.forward_features(fit_images(images, self.traits))  # type: ignore[operator]
        if not isinstance(features, Tensor) or features.ndim not in (3, 4):
            raise ConfigError("this backbone's features are neither a map nor tokens; choose another")
        if isinstance(self.pooling, RegionalGeM) and features.ndim == 3:
            raise ConfigError(
                "this backbone's features are tokens, without regions; choose gem, avg, max or cls"
            )
        if not isinstance(self.pooling, ClassToken):
            features = spread_tokens(features, self.traits)
        pooled: Tensor = self.projection(self.pooling(features))
        return pooled

    def resize(self, images: Tensor, scale: float) -> Tensor:
        """Resize (B, 3, H, W) images, bilinear, but not to nothing."""
        if scale == 1:
            return images
        size = [max(1, int(side * scale)) for side in images.shape[-2:]]
        return functional.interpolate(images, size=size, mode="bilinear", align_corners=False)

    def join_scales(self, described: Tensor, power: float) -> Tensor:
        """Make one descriptor of those of an image at several scales: (S, B, D) L2-normalised -> (B, D')."""
        return pool_scales(described, power)


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
    if is_packaged(options.weights):
        arrays = read_packaged(options.weights, name, list(backbone.state_dict()))
        state = {key: torch.from_numpy(array) for key, array in arrays.items()}
    elif options.weights != "hub":
        state = name_as_timm(backbone, read_state_dict(Path(options.weights)))
    network = _assemble(backbone, options, _held_projection_dim(state, options))
    if state:
        _load_state(network, state, options.weights)
    return network


def _random_network(name: str, options: TimmGeMOptions, seed: str) -> DescriptorNetwork:
    if not seed.isdigit():
        raise ConfigError(f"weights='none:{seed}': random weights need a seed, for example 'none:0'")
    backbone = create_backbone(name, seed=int(seed))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(seed))  # torch.manual_seed would seed the GPUs too
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
    for name in network.traits.classifier:
        state = _without_classifier(network.traits, state, f"backbone.{name}.", source)
    check_fit(network.state_dict(), state, source)
    network.load_state_dict(state, strict=False)


def _without_classifier(traits: BackboneTraits, state: StateDict, layer: str, source: str) -> StateDict:
    """Leave out the classifier of a backbone's pretrained weights, and say so; any other layer stays.

    Raises:
        WeightsError: The layer has another number of outputs than the pretrained classifier: it was trained,
            and descriptors without it would be of another dimension.
    """
    held = [name for name in state if name.startswith(layer)]
    if not held:
        return state
    outputs = {len(state[name]) for name in held if state[name].ndim}
    if outputs - {traits.num_classes}:
        shapes = ", ".join(f"{name} {tuple(state[name].shape)}" for name in held[:3])
        raise WeightsError(
            f"weights {source!r} hold a layer that was trained and that the model does not have: {shapes}; "
            "to use it, name it 'projection.weight' and 'projection.bias' (what comes before it then begins "
            "with 'backbone.'); a classifier of your own must be taken out of the file"
        )
    if not is_packaged(source):
        _logger.info("weights %r: the classifier %s is not loaded", source, ", ".join(held))
    return {name: value for name, value in state.items() if not name.startswith(layer)}
