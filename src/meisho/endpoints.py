"""Endpoints: how an object store is reached, by the usual variables, and what it refuses in plain words."""

import os
import re
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from meisho.errors import ConfigError
from meisho.texts import printable

if TYPE_CHECKING:
    from obstore.store import S3Store

_ENDPOINT = re.compile(r"https?://[^\s/]+(/\S*)?", re.IGNORECASE)
CONNECT_SECONDS = 5
REQUEST_SECONDS = 30
RETRIES = 3
RETRY_SECONDS = 60  # no request is tried for longer: a store that is gone is an error in a minute or two

Access = tuple[tuple[str, str], ...]
"""Options of a store and their values, those that are set."""


def storage_options() -> dict[str, str]:
    """Return how a store is reached, as LanceDB takes it."""
    limits = {
        "connect_timeout": f"{CONNECT_SECONDS}s",
        "timeout": f"{REQUEST_SECONDS}s",
        "client_max_retries": str(RETRIES),
        "client_retry_timeout": str(RETRY_SECONDS),
    }
    named = {"access_key_id": "aws_access_key_id", "secret_access_key": "aws_secret_access_key"}
    named |= {"session_token": "aws_session_token"}
    return limits | {named.get(name, name): value for name, value in read_access()}


def endpoint() -> str:
    """Return the address of the store, or what Amazon's is called."""
    return dict(read_access()).get("endpoint", "Amazon S3")


def read_access() -> Access:
    """Read how the store is reached from the usual variables; what is not set is left to its library.

    Raises:
        ConfigError: The endpoint is no address.
    """
    variables = {
        "access_key_id": ("AWS_ACCESS_KEY_ID",),
        "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
        "session_token": ("AWS_SESSION_TOKEN",),
        "endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
        "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    }
    found = {
        option: next(filter(None, map(os.environ.get, names)), "") for option, names in variables.items()
    }
    if found["endpoint"] and not _ENDPOINT.fullmatch(found["endpoint"]):
        name = next(name for name in variables["endpoint"] if os.environ.get(name))
        raise ConfigError(
            f"{name} is {printable(found['endpoint'])!r:.200}, and no address; write it whole, such as "
            "http://127.0.0.1:8333 or https://s3.example.org"
        )
    if found["endpoint"]:
        found["region"] = found["region"] or "us-east-1"  # signed with, and looked at by Amazon alone
        found["allow_http"] = "true" if found["endpoint"].lower().startswith("http://") else ""
    return tuple((option, value) for option, value in found.items() if value)


@lru_cache(maxsize=32)
def client_of(bucket: str, access: Access, pid: int) -> "S3Store":
    """Return what asks a store of a bucket; a forked process needs its own."""
    from obstore.store import S3Store

    given: dict[str, Any] = dict(access)
    allow_http = bool(given.pop("allow_http", ""))
    return S3Store(
        bucket,
        client_options={
            "allow_http": allow_http,
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "timeout": timedelta(seconds=REQUEST_SECONDS),
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
        **given,
    )


_SET_KEYS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to keys that may read, write, list and delete there"
)
_SAID = (
    (  # where the role of one of Amazon's machines is asked for: nothing named keys before
        ("169.254.169.254", "169.254.170.2"),
        f"no keys are set for {{endpoint}}; {_SET_KEYS}",
    ),
    (("nosuchbucket",), "there is no bucket {bucket!r} at {endpoint}; make it, or correct the name"),
    (
        ("403 forbidden", "401 unauth", "accessdenied", "privileges", "signature", "unauthenticated"),
        f"{{endpoint}} refuses to let you in; {_SET_KEYS}",
    ),
    (
        ("507 insufficient", "no space left", "quota"),
        "{endpoint} has no room left; free some, and run the command again",
    ),
    (
        ("",),
        "{endpoint} does not answer as it should; look at AWS_ENDPOINT_URL and at the network, and run the "
        "command again: everything committed so far is safe",
    ),
)


def explain_failure(reason: str, bucket: str) -> str:
    """Say in a sentence what a store refused and what to do, followed by its own words."""
    said = " ".join(reason.partition("Debug source")[0].split())
    words = next(text for signs, text in _SAID if any(sign in said.lower() for sign in signs))
    return f"{words.format(bucket=bucket, endpoint=endpoint())} ({said[:300]})"
