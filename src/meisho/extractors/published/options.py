"""Options of published models: those of timm's backbones, and how the authors load photos."""

from dataclasses import dataclass

from meisho.errors import ConfigError
from meisho.extractors.options import TimmGeMOptions


@dataclass(frozen=True)
class PublishedOptions(TimmGeMOptions):
    """All that changes the descriptors of a published model.

    Attributes:
        enlarge: False leaves smaller photos as small as they are, as most authors do; a query that is cut out
            of a photo is then at its photo's scale.

    Raises:
        ConfigError: A value that cannot be.
    """

    enlarge: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.enlarge, bool):
            raise ConfigError(f"enlarge={self.enlarge!r}: must be true or false")
