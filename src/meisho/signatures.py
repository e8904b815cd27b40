"""Signatures: the first bytes of a file -> the name of its format, to say what cannot be read, and why."""

PNG = b"\x89PNG\r\n\x1a\n"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
JPEG2000 = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n")
HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"}

_READ = (  # too short ones are left out: text, too, begins with "BM" or "P2"
    (b"\xff\xd8\xff", 0, "JPEG"),
    (PNG, 0, "PNG"),
    (b"WEBP", 8, "WebP"),
    (b"GIF87a", 0, "GIF"),
    (b"GIF89a", 0, "GIF"),
    *((magic, 0, "TIFF") for magic in TIFF),
    *((magic, 0, "JPEG 2000") for magic in JPEG2000),
    *((b"ftyp" + brand, 4, "AVIF") for brand in (b"avif", b"avis")),
    *((b"ftyp" + brand, 4, "HEIC") for brand in sorted(HEIF_BRANDS)),
)
_FOREIGN = (
    (b"\xff\x0a", 0, "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", 0, "JPEG XL"),
    (b"II\xbc\x01", 0, "JPEG XR"),
    (b"8BPS", 0, "Photoshop"),
    (b"P7\n", 0, "PAM"),
    (b"PF\n", 0, "colour PFM"),
    (b"qoif", 0, "QOI"),
    (b"\x76\x2f\x31\x01", 0, "OpenEXR"),
    (b"#?RADIANCE", 0, "Radiance HDR"),
    (b"\0\0\1\0", 0, "ICO"),
    (b"FORM", 0, "IFF"),
    (b"SIMPLE  =", 0, "FITS"),
    (b"gimp xcf", 0, "GIMP"),
    (b"BPG\xfb", 0, "BPG"),
    (b"FLIF", 0, "FLIF"),
    (b"DDS ", 0, "DDS"),
    (b"\x0a\x05\x01", 0, "PCX"),
    (b"\x01\xda", 0, "SGI"),
    (b"%PDF", 0, "PDF"),
    (b"%!PS", 0, "PostScript"),
    (b"<svg", 0, "SVG"),
    (b"PK\3\4", 0, "ZIP"),
    (b"ftyp", 4, "video"),
    (b"\x1aE\xdf\xa3", 0, "video"),
    (b"AVI ", 8, "video"),
)


def explain_unknown(head: bytes) -> str:
    """Say why a file that begins with `head` could not be opened as a photo."""
    if (name := _find(head, _READ)) is not None:
        return f"damaged or truncated: the header of this {name} cannot be read"
    if (name := _find(head, _FOREIGN)) is not None:
        return f"its format, {name}, is not read; save it as JPEG or PNG"
    return "not a photo in a known format, or its header is damaged"


def _find(head: bytes, table: tuple[tuple[bytes, int, str], ...]) -> str | None:
    return next((name for magic, start, name in table if head.startswith(magic, start)), None)
