"""Photos of a retrieval contest: a folder of queries and one of database photos, known by their file names.

The contests lay photos out as a/b/c/abc….jpg, by the first letters of their ids; any layout below the folders
will do, as long as no two photos of a folder have the same name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meisho.errors import DatasetError, ImageError, InputError
from meisho.photo_folder import find_photos
from meisho.photos import PHOTO_SUFFIXES, Photo
from meisho.texts import is_unicode, printable


@dataclass(frozen=True)
class ContestPhotos:
    """What a contest asks, and what it is asked of.

    Attributes:
        queries: Q photos whose ids are their file names without ending, in the order of the submission.
        database: N photos, likewise, sorted by path.
        query_ids: The rows of the submission: the queries, and those without a photo that can be one.
        database_ids: The database, and those of its photos that cannot be one.
        errors: Photos that cannot be one, such as empty files, and places that cannot be looked into.
    """

    queries: tuple[Photo, ...]
    database: tuple[Photo, ...]
    query_ids: tuple[str, ...]
    database_ids: tuple[str, ...]
    errors: tuple[ImageError, ...] = ()


_FORBIDDEN = frozenset(' \t\r\n,;"')


def check_submitted_id(photo_id: str, place: Path) -> None:
    """Refuse an id that a submission, a table of UTF-8 text with ids between spaces, cannot hold.

    Args:
        photo_id: The id.
        place: Where it comes from or goes to, for the message.

    Raises:
        DatasetError: It is such an id.
    """
    is_text = is_unicode(photo_id)
    if not photo_id or not is_text or not _FORBIDDEN.isdisjoint(photo_id):
        reason = "it has a space, comma or quote" if is_text else "it is not UTF-8 text"
        raise DatasetError(
            f"{place}: the id {printable(photo_id)!r:.80} cannot stand in a submission: {reason}; "
            "rename the photo"
        )


def find_contest_photos(
    queries: Path, database: Path, *, query_ids: Sequence[str] | None = None
) -> ContestPhotos:
    """Find the photos of a contest.

    Args:
        queries: Their folder.
        database: Their folder.
        query_ids: The queries to answer, in order; None: all below the folder, sorted by path.

    Raises:
        DatasetError: A folder is missing or empty, two photos of one have the same name, none of the
            queries to answer is there, or a name cannot stand in a submission.
    """
    asked, problems = _find(queries)
    searched, more_problems = _find(database)
    wanted = _all_names(asked, problems) if query_ids is None else tuple(query_ids)
    present = tuple(asked[photo_id] for photo_id in wanted if photo_id in asked)
    if not present:
        raise DatasetError(
            f"{queries}: none of the {len(wanted)} queries to answer is there, "
            f"such as {''.join(wanted[:1]):.80}; is it the folder of the queries?"
        )
    names = _all_names(searched, more_problems)
    for folder, ids in ((queries, wanted), (database, names)):
        for photo_id in ids:
            check_submitted_id(photo_id, folder)
    return ContestPhotos(
        present,
        tuple(searched.values()),
        wanted,
        names,
        (*problems, *more_problems),
    )


def _all_names(found: dict[str, Photo], problems: Sequence[ImageError]) -> tuple[str, ...]:
    """Return the names of the photos, and at the end of those that are named like one and cannot be one."""
    named = [problem.path.stem for problem in problems if problem.path.suffix.lower() in PHOTO_SUFFIXES]
    return tuple(dict.fromkeys([*found, *named]))


def _find(folder: Path) -> tuple[dict[str, Photo], tuple[ImageError, ...]]:
    """Return the photos below a folder by their names, and what cannot be looked into."""
    try:
        folder_photos = find_photos(folder)
    except InputError as error:
        raise DatasetError(str(error)) from error
    if not folder_photos.photos:
        raise DatasetError(f"{folder}: no photo found below it; give the folder that holds the photos")
    found: dict[str, Photo] = {}
    for photo in folder_photos.photos:
        name = photo.path.stem
        if name in found:
            raise DatasetError(
                f"{folder}: two photos have the name {name!r:.80}, {found[name].path} and {photo.path}; "
                "rename one, a submission knows photos by their names"
            )
        found[name] = Photo(name, photo.path)
    return found, folder_photos.problems
