"""What `gpu.py` and its parts share: rows of the table, and where and how large a part is measured."""

import json
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        figure: What it is.
        value: The figure, with its unit; or why there is none.
        aim: What it should be; "" where there is none.
        met: Whether it is; None where that cannot be said.
        must: Whether the run fails where it is not.
    """

    figure: str
    value: str
    aim: str = ""
    met: bool | None = None
    must: bool = False


class Setting:
    """Where and how large a part is measured, and where its rows go, one by one.

    Args:
        device: "cpu" or "cuda".
        small: Whether sizes are small.
        photos: A folder of photos to describe, or None.
        rows: The file that the rows are added to.
    """

    def __init__(self, device: str, small: bool, photos: Path | None, rows: Path) -> None:
        self.device, self.small, self.photos, self._rows = device, small, photos, rows

    def choose(self, small: int, full: int) -> int:
        """Return one of two sizes."""
        return small if self.small else full

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those that the device has."""
        return ("float32", "bf16", "fp16") if self.device == "cuda" else ("float32", "bf16")

    def tell(self, figure: str, value: str) -> None:
        """Add a figure without an aim."""
        self._add(Row(figure, value))

    def tell_ratio(self, figure: str, ratio: float, least: float, more: str = "") -> None:
        """Add a ratio that should be at least so much on a GPU."""
        met = ratio >= least if self.device == "cuda" and not self.small else None
        self._add(Row(figure, f"{ratio:.2f} times{more}", f"at least {least:g} on a GPU", met))

    def tell_agreement(self, figure: str, value: float, least: float) -> None:
        """Add a number that must be at least so much, wherever it is measured."""
        self._add(Row(figure, f"{value:.6f}", f"at least {least:g}", value >= least, must=True))

    def tell_difference(self, figure: str, value: float, most: float) -> None:
        """Add a number that must be at most so much, wherever it is measured."""
        self._add(Row(figure, f"{value:.1e}", f"at most {most:g}", value <= most, must=True))

    def _add(self, row: Row) -> None:
        with self._rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")


def has(package: str) -> bool:
    """Say whether a package is here."""
    return find_spec(package) is not None
