"""Global descriptors without torch: the feature map by ONNX Runtime, all that follows by numpy.

The package holds the structure of the network, `graphs/NAME.onnx`, and what must be known of it,
`graphs/NAME.json`; `meisho.training.feature_graph` writes both. The weights are another file, of this package
or of one of their own.
"""

from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from meisho.arrays import Float32Array, UInt8Array
from meisho.descriptors import normalize_rows
from meisho.documents import read_json
from meisho.errors import WeightsError
from meisho.extractors.digest import digest_arrays
from meisho.extractors.numpy_pooling import POOLINGS, pool_scales
from meisho.extractors.onnx_session import OnnxNetwork, describe_each, fit_pixels, resize_pixels
from meisho.extractors.options import SCALE_POWERS, TimmGeMOptions
from meisho.extractors.packaged_weights import read_packaged
from meisho.extractors.state_file import StateArrays
from meisho.extractors.timm_parts import SHAPE_STEP_PX, describe_batch, image_options_of, trace_origin

GRAPHS = Path(__file__).parent / "graphs"


class OnnxGeM:
    """A global extractor on a timm backbone, in float32 on the CPU; see `extractors.base.GlobalExtractor`.

    Its descriptors are those of `TimmGeM` to 1e-5, and its provenance is the same.

    Args:
        name: timm's name of a backbone of which `GRAPHS` holds the graph.
        options: Weights are those of a package, see `read_packaged`; the pooling is one of
            `numpy_pooling.POOLINGS`; no projection.

    Attributes:
        dim: D, the number of dimensions.
        provenance: Model, options and digest of the weights.
        image_options: How photos must be loaded.
        whitening: What comes after the network, or None.
        is_light: True, see `extractors.restoring.is_light`.

    Raises:
        MissingDependencyError: The package with the weights is not installed.
        WeightsError: They do not fit.
        MismatchError: The whitening was fitted on other descriptors.
    """

    is_light = True

    def __init__(self, name: str, options: TimmGeMOptions) -> None:
        facts: dict[str, Any] = dict(read_json(GRAPHS / f"{name}.json", error=WeightsError).values)
        options = replace(options, multiple_px=options.multiple_px or SHAPE_STEP_PX)
        state = _read_weights(name, options.weights, facts["shapes"])
        self._graph, self._weights = GRAPHS / f"{name}.onnx", _initializers(state)
        self._network: OnnxNetwork | None = None
        self._loading = Lock()
        digest = digest_arrays({f"backbone.{key}": array for key, array in state.items()})
        self.image_options = image_options_of(options)
        self.provenance, self.whitening = trace_origin(f"timm:{name}", options, digest)
        self.dim = int(facts["dim"]) if self.whitening is None else self.whitening.dim
        self._options = options
        mean, std = (np.array(facts[key], np.float32) for key in ("mean", "std"))
        self._gain, self._bias = 1 / (255 * std), -mean / std

    def extract(self, images: UInt8Array) -> Float32Array:
        """Describe a batch: (B, H, W, 3) uint8 RGB, any H, W ≥ 1 -> (B, D) float32, L2-normalised rows.

        Raises:
            InputError: The images are of another shape or type.
        """
        return describe_batch(
            images,
            lambda batch: describe_each(batch, self._describe),
            dim=self.dim,
            whitening=self.whitening,
        )

    def _load_network(self) -> OnnxNetwork:
        """Load the network once, when it is first needed: an update that finds nothing new does without."""
        with self._loading:
            if self._network is None:
                self._network = OnnxNetwork(self._graph, self._weights)
            return self._network

    def _describe(self, image: UInt8Array) -> Float32Array:
        pixels = image.astype(np.float32) * self._gain + self._bias
        described = [self._pool(resize_pixels(pixels, scale)) for scale in self._options.scales]
        power = SCALE_POWERS.get(self._options.pooling, 1.0)
        return pool_scales(normalize_rows(np.stack(described)), power)

    def _pool(self, pixels: Float32Array) -> Float32Array:
        return POOLINGS[self._options.pooling](self._load_network().run(fit_pixels(pixels)), self._options.p)


def _read_weights(name: str, source: str, shapes: dict[str, list[int]]) -> StateArrays:
    """Read the weights of a package, under timm's names, and check their shapes."""
    state = read_packaged(source, name, list(shapes))
    wrong = [key for key, array in state.items() if list(array.shape) != shapes[key]]
    if wrong:
        raise WeightsError(f"weights {source!r} do not fit {name}: {wrong[0]} is of another shape")
    return state


def _initializers(state: StateArrays) -> StateArrays:
    """Leave out the counters of training batches, which the graph does not use."""
    return {key: array for key, array in state.items() if not key.endswith("num_batches_tracked")}
