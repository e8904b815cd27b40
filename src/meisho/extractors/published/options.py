"""Options of published models: those of timm's backbones, and how the authors load photos."""

from dataclasses import dataclass
from typing import ClassVar

from meisho.errors import ConfigError
from meisho.extractors.options import TimmGeMOptions
from meisho.images import CROPS

RESCALINGS = ("bilinear", "authors")


@dataclass(frozen=True)
class PublishedOptions(TimmGeMOptions):
    """All that changes the descriptors of a published model.

    Attributes:
        crops: How a query's crop is sized, see `images.ImageOptions`.
        rescaling: How an image is brought to the other `scales`: "bilinear", or "authors" as the layout's own
            code does it, where `rescaling.py` has it.

    Raises:
        ConfigError: A value that cannot be.
    """

    crops: str = "own"
    rescaling: str = "bilinear"

    came_later: ClassVar[tuple[str, ...]] = ("crops", "rescaling")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, choices in {"crops": CROPS, "rescaling": RESCALINGS}.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name}={getattr(self, name)!r}: choose one of {', '.join(choices)}")
