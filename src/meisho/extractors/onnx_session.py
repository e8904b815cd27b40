"""ONNX Runtime as the extractors use it: one thread for an image, as many images at once as there are cores.

Threads that share an image wait for each other at every layer, and spin while they wait, which costs a busy
machine several times the processor time. Images wait for nothing.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meisho.arrays import Float32Array, UInt8Array
from meisho.cores import count_cores
from meisho.documents import one_line
from meisho.errors import MeishoError, WeightsError
from meisho.extractors.timm_parts import MIN_SIDE_PX


class OnnxNetwork:
    """A network with one input and one output, computed by ONNX Runtime on the CPU; many threads may run it.

    Args:
        path: The ONNX file.
        weights: Its initialisers, by name, where they are not in the file.

    Attributes:
        metadata: The texts that the file holds, by name.

    Raises:
        WeightsError: The file cannot be read, or the weights do not fit.
    """

    def __init__(self, path: Path, weights: Mapping[str, NDArray[np.generic]] | None = None) -> None:
        import onnxruntime  # 0.1 s, which an update that finds nothing new does without

        self._weights = dict(weights or {})  # ONNX Runtime reads them where they are: they must live as long
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        settings.enable_mem_pattern = False  # it plans for shapes that come again; ours change
        settings.log_severity_level = 3  # errors
        try:
            if self._weights:
                values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in self._weights.values()]
                settings.add_external_initializers(list(self._weights), values)
            self._session = onnxruntime.InferenceSession(
                str(path), settings, providers=["CPUExecutionProvider"], enable_fallback=0
            )
            (self._input,) = (each.name for each in self._session.get_inputs())
            self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        except Exception as error:  # its errors have no common base
            raise WeightsError(f"{path}: ONNX Runtime cannot load it ({one_line(error, 200)})") from error

    def run(self, pixels: Float32Array) -> Float32Array:
        """Compute for one image: (H, W, 3) float32 -> what the network gives for it, float32.

        Raises:
            MeishoError: ONNX Runtime fails on it.
        """
        batch = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
        try:
            (found,) = self._session.run(None, {self._input: batch})
        except Exception as error:  # its errors have no common base
            height, width = pixels.shape[:2]
            raise MeishoError(
                f"ONNX Runtime failed on an image of {width} × {height} px "
                f"({one_line(error, 200)}); if memory is short, lower --size"
            ) from error
        computed: Float32Array = found[0]
        return computed


def describe_each(images: UInt8Array, describe: Callable[[UInt8Array], Float32Array]) -> Float32Array:
    """Describe images on as many cores as this process may use: (B, H, W, 3) -> (B, D), B ≥ 1.

    Args:
        images: The images.
        describe: (H, W, 3) uint8 -> (D,) float32; called in several threads.
    """
    num_threads = min(len(images), count_cores())
    if num_threads == 1:
        return np.stack([describe(image) for image in images])
    with ThreadPoolExecutor(num_threads) as pool:
        return np.stack(list(pool.map(describe, images)))


def resize_pixels(pixels: Float32Array, scale: float) -> Float32Array:
    """Resize (H, W, 3), bilinear, as torch's `interpolate` does without aligned corners; not to nothing."""
    if scale == 1:
        return pixels
    height, width = (max(1, int(side * scale)) for side in pixels.shape[:2])
    resized: Float32Array = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized


def fit_pixels(pixels: Float32Array, size_px: tuple[int, int] | None = None) -> Float32Array:
    """Bring (H, W, 3) to a shape that the network takes, as `extractors.backbone.fit_images` does.

    Small images are padded to `MIN_SIDE_PX` at the bottom and right by repeating their edge.

    Args:
        pixels: The image.
        size_px: Height and width, where the network takes no others; the image is resized to it, bicubic.
    """
    below, right = (max(0, MIN_SIDE_PX - side) for side in pixels.shape[:2])
    if below or right:
        pixels = np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge")
    if size_px is None or pixels.shape[:2] == size_px:
        return pixels
    height, width = size_px
    channels = (Image.fromarray(np.ascontiguousarray(channel)) for channel in pixels.transpose(2, 0, 1))
    resized = (channel.resize((width, height), Image.Resampling.BICUBIC) for channel in channels)
    return np.stack([np.asarray(channel) for channel in resized], axis=2)
