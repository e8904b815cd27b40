"""The structure of a backbone as an ONNX graph without weights, which `extractors.onnx_gem` fills.

`python -m meisho.training.feature_graph tf_efficientnet_lite2` writes `extractors/graphs/NAME.onnx` and
`NAME.json` into the package; it is needed when another backbone is to run without torch. The graph is built
layer by layer from timm's modules rather than traced: it is then the same whatever version of torch makes it,
and its padding fits images of every size.
"""

import argparse
import json
import sys
from typing import cast

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from meisho.errors import InputError
from meisho.extractors.backbone import create_backbone, read_traits
from meisho.extractors.onnx_gem import GRAPHS
from meisho.files import write_bytes, write_text

OPSET = 18
IR_VERSION = 8
_LIMITS = {"zero": np.float32(0), "six": np.float32(6)}


class _Graph:
    """A graph that grows at its end; the output of a layer has the layer's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers = [numpy_helper.from_array(np.array(v), name) for name, v in _LIMITS.items()]
        self.end = "pixels"

    def add(self, kind: str, name: str, *inputs: str, **attributes: object) -> None:
        node = helper.make_node(kind, [self.end, *inputs], [name], name=name, **attributes)  # type: ignore[arg-type]
        self.nodes.append(node)
        self.end = name

    def declare(self, name: str, value: Tensor) -> str:
        """Declare an initialiser that lies outside the file."""
        weight = onnx.TensorProto(name=name, data_type=TensorProto.FLOAT, dims=value.shape)
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="weights")
        self.initializers.append(weight)
        return name

    def add_convolution(self, name: str, layer: nn.Conv2d) -> None:
        """Add a convolution padded as TensorFlow does: "same", the odd pixel at the bottom and right."""
        if layer.bias is not None or set(layer.dilation) != {1}:
            raise InputError(f"{name}: has a bias or holes, which no graph was made with yet")
        weight = self.declare(f"{name}.weight", layer.weight)
        kernel, strides = list(layer.kernel_size), list(layer.stride)
        self.add(
            "Conv",
            name,
            weight,
            auto_pad="SAME_UPPER",
            group=layer.groups,
            kernel_shape=kernel,
            strides=strides,
        )

    def add_normalization(self, name: str, layer: BatchNormAct2d) -> None:
        """Add a batch normalisation in evaluation, and what comes after it: nothing, or ReLU6."""
        parts = ("weight", "bias", "running_mean", "running_var")
        weights = [self.declare(f"{name}.{part}", getattr(layer, part)) for part in parts]
        self.add("BatchNormalization", name, *weights, epsilon=layer.eps)
        if isinstance(layer.act, nn.ReLU6):
            self.add("Clip", f"{name}.act", *_LIMITS)
        elif not isinstance(layer.act, nn.Identity):
            raise InputError(f"{name}: its activation is {layer.act}, which no graph was made with yet")

    def add_layer(self, name: str, layer: nn.Module) -> None:
        if isinstance(layer, nn.Conv2d):
            self.add_convolution(name, layer)
        elif isinstance(layer, BatchNormAct2d):
            self.add_normalization(name, layer)
        elif not isinstance(layer, nn.Identity):
            raise InputError(f"{name}: is a {type(layer).__name__}, which no graph was made with yet")

    def add_block(self, name: str, block: nn.Module) -> None:
        """Add the layers of a block in their order, and its input where it takes that past them."""
        start = self.end
        for part, layer in block.named_children():
            self.add_layer(f"{name}.{part}", layer)
        if block.has_skip:
            self.add("Add", f"{name}.sum", start)


def build_graph(backbone: nn.Module, name: str) -> onnx.ModelProto:
    """Build the graph of an EfficientNet of timm, from normalised pixels to its feature map.

    Its input is "pixels", (B, 3, H, W) float32; its output "features", (B, C, H', W') float32. Its
    initialisers have the names of the state dict.

    Raises:
        InputError: A layer is of a kind that is not known here.
    """
    graph = _Graph()
    graph.add_layer("conv_stem", cast(nn.Module, backbone.conv_stem))
    graph.add_layer("bn1", cast(nn.Module, backbone.bn1))
    for stage, blocks in cast(nn.Sequential, backbone.blocks).named_children():
        for number, block in blocks.named_children():
            graph.add_block(f"blocks.{stage}.{number}", block)
    graph.add_layer("conv_head", cast(nn.Module, backbone.conv_head))
    graph.add_layer("bn2", cast(nn.Module, backbone.bn2))
    graph.nodes[-1].output[0] = "features"
    dim = read_traits(backbone).dim
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", dim, "rows", "columns"])
    content = helper.make_graph(graph.nodes, name, [pixels], [features], graph.initializers)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(content, opset_imports=opsets, ir_version=IR_VERSION, producer_name="meisho")


def make_files(name: str) -> tuple[bytes, str]:
    """Return the graph of a backbone, and as JSON what must be known to fill and feed it.

    The JSON holds the shapes of the state dict, in its order, `dim`, and `mean` and `std` of the pixels.

    Raises:
        InputError: timm has no such model, or it has a layer that is not known here.
    """
    backbone = create_backbone(name)
    traits = read_traits(backbone)
    shapes = {key: list(value.shape) for key, value in backbone.state_dict().items()}
    facts = {"dim": traits.dim, "mean": traits.mean, "std": traits.std, "shapes": shapes}
    content: bytes = build_graph(backbone, name).SerializeToString(deterministic=True)
    return content, json.dumps(facts) + "\n"


def main() -> None:
    """Write the files of one backbone into the package."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("name", help="a timm backbone, such as tf_efficientnet_lite2")
    name = parser.parse_args().name
    graph, facts = make_files(name)
    write_bytes(GRAPHS / f"{name}.onnx", graph)
    write_text(GRAPHS / f"{name}.json", facts)
    sys.stdout.write(f"{GRAPHS / name}.onnx: {len(graph)} bytes; .json: {len(facts)} bytes\n")


if __name__ == "__main__":
    main()
