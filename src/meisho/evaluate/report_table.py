"""The table of a report's figures: a row per metric, a column per setup, as plain text and as HTML."""

import re
from dataclasses import dataclass
from html import escape

COUNTED = "queries counted"
_PROTOCOLS = {
    "revisitop": "Revisited Oxford and Paris",
    "oxford5k": "Oxford5k and Paris6k",
    "gldv2": "Google Landmarks v2",
    "ukbench": "UKBench",
}
_SHORT = {"map": "mAP", "mp": "mP", "precision": "P", "recall": "recall", "ns": "N-S score"}


def short_name(metric: str) -> str:
    """Return a metric's name without its protocol: "mP@5" for "revisitop_mp_at_5"."""
    protocol, _, rest = metric.partition("_")
    name, _, depth = (rest if protocol in _PROTOCOLS else metric).partition("_at_")
    return _SHORT.get(name, name) + (f"@{depth}" if depth else "")


def full_name(metric: str) -> str:
    """Return a metric's whole name and its protocol in words, for the tooltip of its short name."""
    protocol = _PROTOCOLS.get(metric.partition("_")[0])
    return f"{metric}: by the protocol of {protocol}" if protocol else metric


@dataclass(frozen=True)
class ReportTable:
    """Figures in words.

    Attributes:
        setups: Heads of the C columns.
        rows: For each metric its name and C cells, "58.15 [54.1, 62.2]" or "".
        counts: Queries behind the figures of each setup.
    """

    setups: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    counts: tuple[int, ...]

    @property
    def text(self) -> str:
        """The table in plain text, one line per row."""
        counts = (COUNTED, tuple(map(str, self.counts)))
        lines = [(name, *cells) for name, cells in (("metric", self.setups), *self.rows, counts)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )

    @property
    def html(self) -> str:
        """The table as an HTML element, every text escaped; short names, with the whole one as tooltip."""
        head = _row("th", ["metric", *map(escape, self.setups)])
        body = [_row("td", [_named(name), *(_cell(cell) for cell in cells)]) for name, cells in self.rows]
        counts = _row("td", [COUNTED, *map(str, self.counts)])
        return f"<table>{head}{''.join(body)}{counts}</table>"


def _row(tag: str, cells: list[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>\n"


def _named(metric: str) -> str:
    return f'<span title="{escape(full_name(metric))}">{escape(short_name(metric))}</span>'


def _cell(cell: str) -> str:
    """Set the value of "value [low, high]" in bold."""
    return re.sub(r"^(\S+)( \[.*\])?$", r'<b>\1</b><span class="soft">\2</span>', escape(cell))
