"""Schemes: what begins as an address does, and is neither a path nor s3://, is refused in words."""

import re

from meisho.errors import InputError
from meisho.texts import printable

_OTHER = re.compile(  # schemes; a `Path` keeps one "/" of well-known ones
    r"\A(?:(?!s3:)(?P<any>[a-z][a-z0-9+.-]+)://|(?P<short>s3):(?!/|\Z)"
    r"|(?P<known>gc?s|az|adl|abfss?|wasbs?|hdfs|oss|cos|r2|s3[an]|https?|s?ftp|file):(?:/|\Z))",
    re.IGNORECASE,
)


def refuse_other_schemes(place: object) -> None:
    """Refuse what is neither a path nor a place in a bucket, but would become a folder of that name.

    Raises:
        InputError: It begins with another scheme than s3://.
    """
    if (found := _OTHER.match(str(place))) is None:
        return
    scheme = (found["any"] or found["known"] or found["short"]).lower()
    if scheme in ("http", "https", "ftp", "sftp"):
        todo = "is an address; download what is there, and name the file"
    elif scheme == "s3":
        todo = "places in a bucket are written s3://BUCKET/NAME"
    elif scheme == "file":
        todo = "is an address; write the path alone"
    else:
        todo = (
            "places in a store are written s3://BUCKET/NAME, whoever keeps it; set AWS_ENDPOINT_URL to "
            "the address at which it speaks S3"
        )
    raise InputError(f"{printable(place)}: {todo}")
