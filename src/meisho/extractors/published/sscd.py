"""SSCD: a ResNet with GeM of a power that the file does not hold, and a linear layer [Pizzi et al. 2022].

Checked against facebookresearch/sscd-copy-detection at commit 9590266, `Model` with the backbones
TV_RESNET18, CV_RESNET18 and CV_RESNET50, and facebookresearch/ClassyVision at commit 08a82e8.
"""

from meisho.extractors.published.base import Published, PublishedFile, under
from meisho.extractors.published.parts import channels_of, find_linear, name_resnet
from meisho.extractors.weights import StateDict

_AUTHORS = {"p": 3.0, "max_side_px": 320, "interpolation": "bilinear"}
"""GeM's power of all published files; they are fed with 288 px on the shorter side, or 320 x 320 px."""

_IMAGENET_CLASSES = 1000
_STEM = {"0.": "conv1.", "1.": "bn1."}
_CLASSY_STEM = "backbone.initial_block._module."
_CLASSY = {
    "convolutional_block.0": "conv1",
    "convolutional_block.1": "bn1",
    "convolutional_block.3": "conv2",
    "convolutional_block.4": "bn2",
    "convolutional_block.6": "conv3",
    "downsample.0": "downsample.0",
    "downsample.1": "downsample.1",
}


def convert(file: PublishedFile) -> Published | None:
    """Take a file of weights: .torchvision.pt or .classy.pt."""
    if f"{_CLASSY_STEM}0.weight" in file.state and "embeddings.1.weight" in file.state:
        weights, layer = _name_classy(file.state), "embeddings.1"
    elif _is_torchvision(file.state):
        weights, layer = under("backbone.", file.state), "backbone.fc"
    else:
        return None
    weights = {key: value for key, value in weights.items() if not key.startswith("fc.")}
    backbone = name_resnet(weights, file.path)
    return Published(
        backbone,
        weights,
        options=_AUTHORS,
        head=find_linear(file.state, layer, channels_of(backbone), file.path),
        left_out=tuple(key for key in file.state if not key.startswith(("backbone.", "embeddings."))),
    )


def _is_torchvision(state: StateDict) -> bool:
    """Say whether all is one ResNet with a linear layer that is no classifier of ImageNet."""
    held = {"backbone.conv1.weight", "backbone.layer4.0.conv1.weight", "backbone.fc.bias"} <= state.keys()
    alone = all(key.startswith("backbone.") for key in state)
    return held and alone and state["backbone.fc.bias"].shape != (_IMAGENET_CLASSES,)


def _name_classy(state: StateDict) -> StateDict:
    """Bring Classy Vision's names, "backbone.blocks.0.block0-1.bn.weight", to torchvision's."""
    deep = "backbone.blocks.0.block0-0.convolutional_block.6.weight" in state
    names = {**_CLASSY, "bn": "bn3" if deep else "bn2"}
    named = {}
    for key, value in state.items():
        if key.startswith(_CLASSY_STEM):
            rest = key.removeprefix(_CLASSY_STEM)
            named[_STEM.get(rest[:2], rest[:2]) + rest[2:]] = value
        elif key.startswith("backbone.blocks.") and key.count(".") > 4:
            _, _, stage, block, rest = key.split(".", 4)
            part, _, last = rest.rpartition(".")
            number = block.partition("-")[2]
            stage = str(int(stage) + 1) if stage.isdigit() else stage
            named[f"layer{stage}.{number}.{names.get(part, part)}.{last}"] = value
    return named
