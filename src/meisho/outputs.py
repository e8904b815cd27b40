r"""Outputs: which files may be written over. One rule, for the command line and for Python.

A file that is there is written over only where meisho wrote it and it is of the kind that is to be written:
so no output destroys a photo, an input or the file of a stranger. An input is refused besides, for it may be
of that kind. A kind is known by signs, which stand within the first or last 4 KB of its files.

A new kind is one `Output` and one `check_output` in the function that writes it.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from meisho.buckets import is_in_bucket
from meisho.errors import InputError, explain_os_error
from meisho.files import read_ends
from meisho.marks import MARK, PICTURE_SUFFIXES
from meisho.schemes import refuse_other_schemes


@dataclass(frozen=True)
class Output:
    r"""A kind of file that meisho writes.

    Attributes:
        what: What it is, for messages: "a page".
        signs: Patterns that its content matches; `\A` is the beginning of the file.
        suffixes: Lower-case endings of its names; none for a name that is fixed.
    """

    what: str
    signs: tuple[bytes, ...]
    suffixes: frozenset[str] = frozenset()

    def wrote(self, path: Path) -> bool:
        """Whether a file is of this kind; what cannot be read is not."""
        ends = read_ends(path)
        return all(re.search(sign, ends) for sign in self.signs)


PAGE = Output("a page", (rb"meisho (search|report|places|look)</title>",), frozenset({".html", ".htm"}))
DRAWING = Output("a drawing", (MARK.encode(),), PICTURE_SUFFIXES)
FIGURE = Output("a figure", DRAWING.signs, frozenset({".png", ".svg"}))
WHITENING = Output("a whitening", (rb'"projection":\{', rb'"source":"\{'), frozenset({".safetensors"}))
MODEL = Output("an exported model", (rb"weights_sha256", rb"normalization"), frozenset({".onnx"}))
SUBMISSION = Output("a submission", (rb"\Aid,images\r?\n",), frozenset({".csv"}))
PLACES = Output("a table of places", (rb"\Akind,group,rank,photo\r?\n",), frozenset({".csv"}))
REPORT = Output("a report", (rb'\A\{\s*"format": \d', rb'"protocol": '))
QUERY_SCORES = Output("a table of query scores", (rb"\Aquery_id,setup,average_precision,",))
SETTINGS = Output("the settings of an evaluation", (rb"(?m)^dataset = ", rb"(?m)^root = ", rb"(?m)^model = "))
SWEEP = Output("a table of rerankers", (rb"\Arerank,.*,on_frontier",))
BOARD_PAGE = Output("the page of a leaderboard", (rb"\A# Leaderboard\n",), frozenset({".md"}))
BOARD_TABLE = Output("the table of a leaderboard", (rb"\Adataset,model,chain,metric,",))
BOARD_JSON = Output("the facts of a leaderboard", (rb'\A\{\s*"format": \d', rb'"baseline": ', rb'"cells": '))
COPIES = Output("a table of copies", (rb"\Agroup,kind,part,label,file\n",))
PHOTO_TABLE = Output("a table of a split", (rb"\Afile,label,landmark",))
RUN = Output("the facts of a run", (rb'\A\{\s*"seed": ', rb'"starts": '))
SKIPPED = Output("a table of photos that cannot be read", (rb"\Apath,reason\r?\n",))
SPLIT = Output("the facts of a split", (rb'"source_sha256": ', rb'"kind": '))


PICTURE_NAME = re.compile(r"matches-(\w+-)?\d+\.jpg")
"""Names of the pictures of matches beside a page."""


def check_output(to: Path, kind: Output, *, inputs: Iterable[Path] = ()) -> None:
    """Refuse a file that cannot be written or must not be; folders on the way to it may be missing.

    Args:
        to: The file.
        kind: What is to be written.
        inputs: What is read, files or folders; the file may lie in such a folder.

    Raises:
        InputError: It is an input, is there and is not of this kind, has another ending, or cannot be made.
    """
    if kind.suffixes and to.suffix.lower() not in kind.suffixes:
        raise InputError(
            f"{to}: {kind.what} cannot be written as {to.suffix or 'a name without an ending'}; "
            f"end it in {' or '.join(sorted(kind.suffixes))}"
        )
    try:
        if to.is_dir():
            raise InputError(f"{to}: is a folder; name a file in it")
        if any(_is_same(to, file) for file in inputs):
            raise InputError(f"{to}: is one of the inputs, which would be overwritten; name another file")
        is_there = os.path.lexists(to)
    except (OSError, ValueError) as error:
        raise InputError(f"{to}: cannot be written: {explain_os_error(error)}") from error
    if is_there and not kind.wrote(to):
        raise InputError(
            f"{to}: is there already and is not {kind.what} that meisho wrote; name another file, or move it"
        )
    if inside := next(filter(_is_collection, to.absolute().parents), None):
        raise InputError(
            f"{to}: lies in the collection {inside}, which holds its own files alone; name another place"
        )
    check_output_folder(to.parent)


def check_outputs(folder: Path, kinds: Mapping[str, Output], *, inputs: Iterable[Path] = ()) -> None:
    """Refuse a folder in which one of several files, name -> kind, cannot be written or must not be.

    Raises:
        InputError: One cannot, or the folder can neither be made nor be written to.
    """
    check_output_folder(folder)
    for name, kind in kinds.items():
        check_output(folder / name, kind, inputs=inputs)


def check_page(page: Path, *, inputs: Iterable[Path] = ()) -> None:
    """Refuse a page that cannot be written or must not be, or whose pictures of matches would replace others.

    Raises:
        InputError: It is so.
    """
    inputs = tuple(inputs)
    check_output(page, PAGE, inputs=inputs)
    folder = pictures_folder(page)
    check_output_folder(folder)
    for picture in folder.iterdir() if folder.is_dir() else ():
        if PICTURE_NAME.fullmatch(picture.name):
            check_output(picture, DRAWING, inputs=inputs)


def pictures_folder(page: Path) -> Path:
    """Return the folder PAGE_matches of pictures of matches, beside the page."""
    return page.with_name(f"{page.stem}_matches")


def check_output_folder(to: Path) -> None:
    """Refuse a folder that can neither be made nor be written to.

    Raises:
        InputError: It cannot; the message says why.
    """
    refuse_other_schemes(to)
    if is_in_bucket(to):
        raise InputError(f"{to}: lies in a bucket, where only collections are written; name a folder")
    try:
        there = next(folder for folder in (to.absolute(), *to.absolute().parents) if os.path.lexists(folder))
        is_folder = there.is_dir()
    except (OSError, ValueError) as error:
        raise InputError(f"{to}: cannot be written to: {explain_os_error(error)}") from error
    if not is_folder:
        raise InputError(f"{to}: {there} is {'a file, ' if there.is_file() else ''}not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{to}: {there} is not writable")


def check_collection_place(to: Path) -> None:
    """Refuse a place where no collection can be made; a bucket is asked when it is written to."""
    if not is_in_bucket(to):
        check_output_folder(to)


def model_files(*names: str | Path | None) -> list[Path]:
    """Return the files and folders that names of models may stand for, "onnx:FILE" and ensembles too."""
    words = [word for name in names if name is not None for word in str(name).split("+")]
    words += [word.rpartition(":")[2].partition("*")[0] for word in words]
    return [Path(word) for word in words if word]


def _is_collection(folder: Path) -> bool:
    """Whether a folder is a collection of meisho; a damaged one is, too."""
    return os.path.lexists(folder / "collection.json") and os.path.lexists(folder / "photos.lance")


def _is_same(first: Path, second: Path) -> bool:
    """Whether two names are of one file, by links, other spellings of the name or "..", too."""
    try:
        return first.samefile(second)
    except (FileNotFoundError, NotADirectoryError):
        return False
