"""Image files: opened by their content, whatever their ending; refused with the true reason."""

import io
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from meisho.buckets import BucketPath
from meisho.errors import ImageError, StoreError, explain_os_error
from meisho.jpeg import refuse_deep_colours, refuse_strange
from meisho.orientations import UPRIGHT
from meisho.photos import RAW_SUFFIXES, Photo, open_photo_file
from meisho.png import keep_picture
from meisho.signatures import HEIF_BRANDS, JPEG2000, PNG, TIFF, explain_unknown

MAX_PIXELS = 300_000_000
"""A photo with more pixels is refused before memory is taken; the largest phone photos have 200 MP."""

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "DIB", "PPM", "JPEG2000", "AVIF")
_EMPTY_BYTES = 1024
_NO_PREVIEW = "this RAW photo holds no JPEG; develop it to one"
_CUT = re.compile(r"truncated|end of file|outside of file", re.IGNORECASE)
_UNSUPPORTED = (
    (
        re.compile("Unsupported BMP bitfields layout"),
        "BMP bit fields of this kind are not supported; save it as PNG",
    ),
    (
        re.compile(r"Unsupported BMP pixel depth \((\d+)\)"),
        r"a BMP of \1 bits is not supported; save it as PNG",
    ),
)
_UNDECODED = re.compile(
    r"decoder error|(broken|unrecognized) data stream|could not create decoder|next frame|Failed to decode"
    r"|Invalid input|Decoder plugin|cannot decode image data|codec error|buffer overrun"
    r"|bad (marker|value|image)"
)


@contextmanager
def open_photo(photo: Photo) -> Iterator[Image.Image]:
    """Open a photo's header by its content, whatever its ending, and check its size; no pixel is decoded."""
    with ExitStack() as stack:
        if isinstance(photo.content, np.ndarray):
            image = Image.fromarray(photo.content)
        elif photo.content is not None:
            image = stack.enter_context(_open_image(io.BytesIO(photo.content), photo.path))
        else:
            file = stack.enter_context(_open_file(photo.path))
            is_raw = photo.path.suffix.lower() in RAW_SUFFIXES
            readable = _find_preview(photo.path) if is_raw else file
            image = stack.enter_context(_open_image(readable, photo.path))
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        yield image


@contextmanager
def _open_file(path: Path) -> Iterator[io.BufferedReader]:
    """Open a photo's file; a store that does not answer is a photo that cannot be read, like any other."""
    try:
        with open_photo_file(path) as file:
            yield file
    except StoreError as error:
        raise ImageError(path, str(error)) from error


def _open_image(file: io.BufferedReader | io.BytesIO, path: Path) -> Image.Image:
    head = file.read(64)
    file.seek(0)
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if head.startswith(PNG):
        return _open_by_pillow(keep_picture(file.read()), head)
    if head.startswith(TIFF):
        from meisho.tiff import open_deep  # which other photos do without

        page = open_deep(file)
        return page if isinstance(page, Image.Image) else _open_by_pillow(page, head)
    if head.startswith(JPEG2000):
        refuse_deep_colours(file)
    if head[4:8] == b"ftyp" or head[8:12] == b"WEBP":
        _refuse_empty_end(file)
    if brand in HEIF_BRANDS and b"avif" not in head:
        return _open_heif(file, path)
    return _open_by_pillow(file, head)


def _open_by_pillow(file: IO[bytes], head: bytes) -> Image.Image:
    file.seek(0)
    try:
        return Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError as error:
        file.seek(0)
        if head.startswith(b"\xff\xd8"):
            refuse_strange(file.read())
        raise ValueError(explain_unknown(head)) from error


def _refuse_empty_end(file: io.BufferedReader | io.BytesIO) -> None:
    """Refuse a photo whose last quarter is zeros: space that was reserved and never written to.

    Pixels that are packed as in WebP, AVIF and HEIC never are; there is no checksum, so that decoders show
    something for them.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _EMPTY_BYTES))
    is_empty = not file.read().strip(b"\0")
    file.seek(0)
    if is_empty and size > _EMPTY_BYTES:
        data = file.read()
        file.seek(0)
        declared = data[: _declared_bytes(data)]
        empty = len(declared) - len(declared.rstrip(b"\0"))
        if empty > max(_EMPTY_BYTES, len(declared) // 4):
            raise ValueError(f"damaged: its last {empty:,} bytes are zeros")


def _declared_bytes(data: bytes) -> int:
    """Return how long a RIFF file or one of boxes says it is; what stands behind it is no part of it."""
    if data.startswith(b"RIFF"):
        return 8 + int.from_bytes(data[4:8], "little")
    end = 0
    while data[end + 4 : end + 8].strip(b"\0"):
        size = int.from_bytes(data[end : end + 4])
        if size == 1:
            size = int.from_bytes(data[end + 8 : end + 16])
        if size < 8:  # 0: up to the end
            return len(data)
        end += size
    return end


def _open_heif(file: io.BufferedReader | io.BytesIO, path: Path) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        reason = "HEIC photos need the package pillow-heif; run: pip install 'meisho[heic]'"
        raise ImageError(path, reason) from error
    image: Image.Image = HeifImageFile(file)
    return image


def _find_preview(path: Path) -> io.BytesIO:
    """Return the JPEG that a RAW photo holds, as the camera made it."""
    try:
        import rawpy
    except ImportError as error:
        reason = "RAW photos need the package rawpy; run: pip install 'meisho[raw]'"
        raise ImageError(path, reason) from error
    try:
        with rawpy.imread(path.open("rb") if isinstance(path, BucketPath) else str(path)) as raw:
            preview = raw.extract_thumb()
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError) as error:
        raise ImageError(path, _NO_PREVIEW) from error
    except rawpy.LibRawUnsufficientMemoryError as error:
        raise MemoryError from error
    except rawpy.LibRawError as error:
        reason = "damaged, or RAW of a kind that is not known: no picture can be read of this RAW photo"
        raise ImageError(path, reason) from error
    if preview.format != rawpy.ThumbFormat.JPEG:
        raise ImageError(path, _NO_PREVIEW)
    return io.BytesIO(bytes(preview.data))


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return (width, height), px, of an opened photo once it is turned upright."""
    if find_orientation(image) in (5, 6, 7, 8):
        return image.height, image.width
    return image.width, image.height


def find_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where it is missing, broken or has been applied by Pillow."""
    if image.format == "TIFF":
        return 1  # Pillow turns a TIFF upright when it is loaded and gives the upright size before
    try:  # not `image.getexif`: that of a PNG decodes it, and what is wrong with it would be lost here
        orientation = Image.Image.getexif(image).get(0x0112)
    except Exception:  # broken EXIF raises nearly anything, and says nothing about the pixels
        return 1
    return orientation if orientation in UPRIGHT else 1


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """Turn whatever Pillow and its plug-ins raise into an ImageError that names the photo."""
    try:
        with _pillow_settings.applied():
            yield
    except ImageError:
        raise
    except Exception as error:  # damaged files make the decoders raise nearly every type there is
        raise ImageError(path, _reason(error)) from error


def _reason(error: Exception) -> str:
    """Say in one line why a photo could not be read."""
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {MAX_PIXELS // 1_000_000} megapixels: refused as a decompression bomb"
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    if isinstance(error, OSError) and error.strerror:
        return explain_os_error(error)
    said = " ".join(str(error).split())[:200]
    if isinstance(error, struct.error | IndexError | KeyError | TypeError | AssertionError) or not said:
        return f"damaged: its header makes no sense ({type(error).__name__}: {said})"[:200]
    if said.startswith(("truncated", "damaged")):
        return said
    if _CUT.search(said):
        return "truncated or damaged: its picture ends too early"
    if _UNDECODED.search(said):
        return "damaged or truncated: its pixels cannot be decoded"
    for pattern, reason in _UNSUPPORTED:
        if (found := pattern.match(said)) is not None:
            return found.expand(reason)
    return said


class _PillowSettings:
    """What reading needs of Pillow's process-wide settings, set while any thread reads and then put back.

    Not more than MAX_PIXELS (Pillow raises at twice its own limit), no half-decoded files, no warnings. The
    first thread in sets them and the last one out restores them, because the settings know no threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_readers = 0
        self._restore = ExitStack()

    @contextmanager
    def applied(self) -> Iterator[None]:
        with self._lock:
            if self._num_readers == 0:
                self._set()
            self._num_readers += 1
        try:
            yield
        finally:
            with self._lock:
                self._num_readers -= 1
                if self._num_readers == 0:
                    self._restore.close()

    def _set(self) -> None:
        self._restore.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
        self._restore.callback(setattr, ImageFile, "LOAD_TRUNCATED_IMAGES", ImageFile.LOAD_TRUNCATED_IMAGES)
        self._restore.enter_context(warnings.catch_warnings())
        Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        warnings.simplefilter("ignore")


_pillow_settings = _PillowSettings()
