"""A folder of timm's: config.json with "architecture", and weights under timm's own names.

Checked against timm itself, `timm.create_model(architecture, num_classes=0)` with its pooling, for backbones
without a layer between pooling and classifier; ConvNeXt and others have a norm there, which is not applied.
"""

from collections.abc import Mapping

from meisho.extractors.published.base import IMAGENET_MEAN, IMAGENET_STD, Published, PublishedFile, triple

_POOLINGS = {"avg": "avg", "max": "max", "token": "cls"}


def convert(file: PublishedFile) -> Published | None:
    """Take what `timm.models.save_for_hf` wrote; any other folder is refused with its kind."""
    config = file.content.get("config")
    if not isinstance(config, Mapping):
        return None
    if not isinstance(config.get("architecture"), str):
        kind = f"{config.get('model_type', 'unknown')!r:.60}"
        raise file.refuse(
            f"its config.json is of the kind {kind}, not timm's; folders of transformers are not read: take "
            "the same weights from timm (--model timm:NAME), or wrap the network by meisho.wrap_module"
        )
    pretrained = config.get("pretrained_cfg")
    facts: Mapping[str, object] = pretrained if isinstance(pretrained, Mapping) else {}
    classifier = _names(facts.get("classifier"))
    weights = {key: value for key, value in file.state.items() if not key.startswith(classifier)}
    pooling = config.get("global_pool")
    return Published(
        config["architecture"],
        weights,
        options={"pooling": _POOLINGS[pooling]} if isinstance(pooling, str) and pooling in _POOLINGS else {},
        mean=triple(facts.get("mean"), IMAGENET_MEAN),
        std=triple(facts.get("std"), IMAGENET_STD),
        left_out=tuple(key for key in file.state if key.startswith(classifier)),
    )


def _names(classifier: object) -> tuple[str, ...]:
    names = classifier if isinstance(classifier, list | tuple) else [classifier or "fc"]
    return tuple(f"{name}." for name in names)
