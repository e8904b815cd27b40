"""SIFT with OpenCV: no weights, no network; RootSIFT descriptors."""

import cv2
import numpy as np

from meisho.arrays import Float32Array, UInt8Array
from meisho.descriptors import Provenance
from meisho.extractors.local_input import check_image, check_positive, check_whole, no_features
from meisho.images import ImageOptions
from meisho.local_features import LocalFeatures


class Sift:
    """SIFT [Lowe 2004] with RootSIFT descriptors [Arandjelović and Zisserman 2012].

    Args:
        max_keypoints: Maximum number of features; those with the strongest contrast are kept.
        max_side_px: Longer side of the resized image.
        contrast_threshold: OpenCV's `contrastThreshold`; a larger value drops more weak features.
        edge_threshold: OpenCV's `edgeThreshold`; a smaller value drops more edge-like features.

    Raises:
        ConfigError: An option is not positive.
    """

    dim = 128

    def __init__(
        self,
        *,
        max_keypoints: int = 1000,
        max_side_px: int = 640,
        contrast_threshold: float = 0.04,
        edge_threshold: float = 10.0,
    ) -> None:
        check_whole(max_keypoints=max_keypoints, max_side_px=max_side_px)
        check_positive(contrast_threshold=contrast_threshold, edge_threshold=edge_threshold)
        options: dict[str, object] = {
            "max_keypoints": max_keypoints,
            "max_side_px": max_side_px,
            "contrast_threshold": float(contrast_threshold),
            "edge_threshold": float(edge_threshold),
        }
        self.provenance = Provenance.from_options("sift", options)
        self.image_options = ImageOptions(max_side_px=max_side_px)
        self._max_keypoints = max_keypoints
        self._sift = cv2.SIFT.create(
            nfeatures=max_keypoints,
            contrastThreshold=contrast_threshold,
            edgeThreshold=edge_threshold,
            enable_precise_upscale=True,
        )

    def extract(self, image: UInt8Array) -> LocalFeatures:
        """Find the features of an image (H, W, 3) uint8 RGB; see `LocalExtractor.extract`.

        A feature's scale is its diameter.

        Raises:
            InputError: The image has another shape or dtype.
        """
        check_image(image)
        height, width = image.shape[:2]
        points, raw = self._sift.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
        if not points:
            return no_features(self.dim, (width, height), with_scales=True)
        scores = np.array([point.response for point in points], np.float32)
        best = np.argsort(-scores, kind="stable")[: self._max_keypoints]  # OpenCV keeps more if tied
        keypoints = np.array([point.pt for point in points], np.float32)[best]
        scales = np.array([point.size for point in points], np.float32)[best]
        return LocalFeatures(keypoints, root_sift(raw[best]), scores[best], (width, height), scales)


def root_sift(descriptors: Float32Array) -> Float32Array:
    """Divide (K, 128) SIFT descriptors by their sums and take square roots: unit length, zeros stay zero."""
    sums = descriptors.sum(axis=1, keepdims=True, dtype=np.float32)
    roots: Float32Array = np.sqrt(descriptors / np.maximum(sums, np.float32(1e-12)))
    return roots
