"""The pages that people read: what their blocks hold, and the photos that they speak of."""

import re
from pathlib import Path

from meisho.toycity import build_toycity

ROOT = Path(__file__).parent.parent
NOT_PAGES = {"docs/LOG.md"}  # a log tells of commands as they were
PAGES = [
    str(path.relative_to(ROOT))
    for path in (
        *sorted(ROOT.glob("README*.md")),
        *sorted(ROOT.glob("docs/*.md")),
        *sorted(ROOT.glob("docs/ja/*.md")),
    )
    if str(path.relative_to(ROOT)) not in NOT_PAGES
]


def blocks(page, language):
    """The blocks of code of a page that are marked as a language ("" for none)."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    return [text for marked, text in found if marked == language]


def lines_of(page):
    """The console lines of a page, comments and all."""
    return [line for block in blocks(page, "console") for line in block.splitlines() if line.strip()]


def draw_labelled(folder):
    """A folder of photos with labels, where the page says `photos`: some views each of a few drawn places."""
    build_toycity(folder / "city", landmarks=8, views=6, distractors=0)
    for photo in sorted((folder / "city/database").glob("*.jpg")):
        place = folder / "photos" / photo.stem.rpartition("_")[0]
        place.mkdir(parents=True, exist_ok=True)
        photo.rename(place / photo.name)
