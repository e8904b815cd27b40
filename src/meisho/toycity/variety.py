"""What a city draws beyond buildings in plain photos: a choice that a plain city does without."""

from dataclasses import dataclass

from meisho.errors import ConfigError
from meisho.tables import require_name
from meisho.toycity.kinds import KINDS


@dataclass(frozen=True)
class Variety:
    """What is drawn beyond buildings in plain photos; the defaults draw nothing more.

    Attributes:
        kinds: Kinds of places, names in `kinds.KINDS`; landmark i is of kind i modulo their number.
        faults: Share of the photos that have faults of a camera: blur, fringes, noise, bad JPEG.
        renderings: Share of the photos that are paintings, drawings, prints or old photographs.
        seasons: Whether leaves and grass change with the season.

    Raises:
        ConfigError: There is no such kind, none is named, or a share is none.
    """

    kinds: tuple[str, ...] = ("building",)
    faults: float = 0.0
    renderings: float = 0.0
    seasons: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", tuple(self.kinds))  # JSON has no tuples
        if not self.kinds:
            raise ConfigError("toy city: kinds names no kind of place; leave it out for buildings")
        for name in self.kinds:
            require_name(name, KINDS, what="kind of place")
        for name in ("faults", "renderings"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"toy city: {name}={getattr(self, name)} is no share from 0 to 1")


PLAIN = Variety()
"""A plain city: buildings alone."""
