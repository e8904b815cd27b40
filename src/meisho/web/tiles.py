"""Photos on a page: thumbnails inside it, links to the originals and to pictures of matches beside it."""

import base64
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import quote

from meisho.buckets import BucketPath
from meisho.errors import ImageError
from meisho.images import make_thumbnail
from meisho.marks import is_our_drawing
from meisho.outputs import PICTURE_NAME, check_page, pictures_folder
from meisho.photo_pair import PhotoPair
from meisho.photos import Photo
from meisho.texts import count
from meisho.web.drawing import draw_matches

Verdict = Literal["right", "wrong", "junk", "same", "likely", "plain", "query"]
ANSWER_SIDE_PX = 240
QUERY_SIDE_PX = 480


@dataclass(frozen=True)
class Tile:
    """One photo on a page.

    Attributes:
        id: The photo's id.
        verdict: What it is to the query. Where no ground truth is known: "same" for what local features
            verified, "likely" for what is said to show the same place unverified, else "plain".
        image: Data URI of its thumbnail, or "" when it cannot be read.
        link: Link to the photo's file, or "" when it cannot be read.
        rank: Its place among the answers, from 1; 0 for a query.
        score: Its score in words, or "".
        note: Further words, or "".
        sure: How sure it is that it shows the query's place, in words, or "".
        evidence: What was found when it was compared with the query, or "".
        same_place: Whether that says that both show the same place.
        drawing: Link to the picture of its matches, or "".
        copies: Ids of the photos that are copies of it.
    """

    id: str
    verdict: Verdict
    image: str
    link: str
    rank: int = 0
    score: str = ""
    note: str = ""
    sure: str = ""
    evidence: str = ""
    same_place: bool = False
    drawing: str = ""
    copies: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The last part of the id: the file's name."""
        return PurePosixPath(self.id).name or self.id

    @property
    def folder(self) -> str:
        """What stands before the name, or ""."""
        return self.id[: -len(self.name)].rstrip("/") if self.id.endswith(self.name) else ""


@dataclass(frozen=True, eq=False)
class PagePhotos:
    """The photos of one page.

    Raises:
        InputError: The page or a picture of matches would replace what is none, see `meisho.outputs`.

    Attributes:
        page: The HTML file.
        shown: Files that were looked at.
        unread: Files that could not be read, with the reason.
        drawn: Names of the pictures of matches that were written.
        former: Names of the pictures that the page in the same place, which will be replaced, links to.
    """

    page: Path
    shown: set[Path] = field(default_factory=set)
    unread: dict[Path, ImageError] = field(default_factory=dict)
    drawn: set[str] = field(default_factory=set)
    former: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        check_page(self.page)
        text = self.page.read_text("utf-8", "replace") if self.page.exists() else ""
        links = re.findall(r'href="[^"]*/(matches-[^"/]*)"', text)
        object.__setattr__(self, "former", frozenset(filter(PICTURE_NAME.fullmatch, links)))

    @property
    def folder(self) -> Path:
        """The folder PAGE_matches of pictures of matches, beside the page."""
        return pictures_folder(self.page)

    def query(self, photo: Photo) -> Tile:
        """Return the tile of a query."""
        note = "its box is outlined" if photo.box else ""
        return replace(self._tile(photo, "query", QUERY_SIDE_PX), note=note)

    def answer(self, photo: Photo, verdict: Verdict, rank: int, score: float) -> Tile:
        """Return the tile of an answer."""
        return replace(self._tile(photo, verdict, ANSWER_SIDE_PX), rank=rank, score=f"{score:.3f}")

    def plain(self, photo: Photo) -> Tile:
        """Return the tile of a photo that is nobody's answer."""
        return self._tile(photo, "plain", ANSWER_SIDE_PX)

    def _tile(self, photo: Photo, verdict: Verdict, side_px: int) -> Tile:
        self.shown.add(photo.path)
        try:
            thumbnail = make_thumbnail(photo, max_side_px=side_px)
        except ImageError as error:
            self.unread[photo.path] = error
            return Tile(photo.id, verdict, "", "")
        image = "data:image/jpeg;base64," + base64.b64encode(thumbnail).decode()
        return Tile(photo.id, verdict, image, self._link(photo.path))

    def _link(self, path: Path) -> str:
        """Return a link from the page: relative, so that page and photos can be moved together."""
        if isinstance(path, BucketPath):
            return quote(str(path), safe=":/")
        try:
            relative = os.path.relpath(path.absolute(), self.page.parent.absolute())
        except ValueError:  # another drive of Windows
            return path.absolute().as_uri()
        return quote(os.fsencode(relative.replace(os.sep, "/")))

    def add_matches(self, tiles: Sequence[Tile], pairs: Sequence[PhotoPair], prefix: str) -> list[Tile]:
        """Tell each answer's inliers, draw its matches, and link the tile to the picture."""
        return [
            self._add_match(tile, pair, f"{prefix}-{tile.rank}.jpg")
            for tile, pair in zip(tiles, pairs, strict=True)
        ]

    def _add_match(self, tile: Tile, pair: PhotoPair, file: str) -> Tile:
        """Where no match is an inlier all are drawn, in grey: what looks alike and agrees on nothing."""
        num_inliers = pair.verification.num_inliers
        words = count(num_inliers, "inlier")
        is_said = tile.sure.startswith("same place")
        evidence = f"same place, {words}" if pair.same_place and not is_said else words
        tile = replace(tile, evidence=evidence, same_place=pair.same_place)
        try:
            draw_matches(pair, self.folder / file, outliers=num_inliers == 0)
        except ImageError:  # told by the missing thumbnail
            return tile
        self.drawn.add(file)
        return replace(tile, drawing=quote(f"{self.folder.name}/{file}"))

    def warning(self, remedy: str) -> str:
        """Say which photos cannot be shown and why, or "".

        Args:
            remedy: What to do where files are gone.
        """
        if not self.unread:
            return ""
        example = next(iter(self.unread.values()))
        words = f"{len(self.unread)} of the {count(len(self.shown), 'photo')} here cannot be shown"
        is_gone = any(not path.exists() for path in self.unread)
        return f"{words}, for example {example}. {remedy if is_gone else ''}".rstrip()

    def tidy(self) -> None:
        """Remove the pictures of the page that was replaced; what is no drawing of ours stays."""
        for name in self.former - self.drawn:
            if is_our_drawing(self.folder / name):
                (self.folder / name).unlink()
