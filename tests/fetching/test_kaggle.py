"""Kaggle's own client against a server on loopback that answers as Kaggle's does."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

from meisho.errors import FetchError, MissingDependencyError
from meisho.fetching.checking import check_files
from meisho.fetching.getting import FetchOptions, get_dataset
from meisho.fetching.manifest import read_manifest

from .test_archives import make_zip

PORT = 80  # where the client looks for Kaggle with KAGGLE_API_ENVIRONMENT=LOCALHOST

GET = """
import sys
from pathlib import Path
from meisho.errors import MeishoError
from meisho.fetching.getting import get_dataset
from meisho.fetching.manifest import read_manifest
try:
    get_dataset(read_manifest(Path(sys.argv[1])), Path(sys.argv[2]))
except MeishoError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.fixture
def archive(tmp_path):
    return make_zip(tmp_path / "published.zip", {"street/1.jpg": b"one" * 5000, "street/street.csv": b"a"})


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "street.json"
    path.write_text(
        json.dumps(
            {
                "name": "street",
                "title": "A street",
                "licence": "CC0",
                "homepage": "https://example.org",
                "files": [
                    {
                        "path": "street.zip",
                        "kaggle": "someone/our-street",
                        "about_bytes": 16000,
                        "unpack": {"max_members": 9, "max_bytes": 10**6},
                    }
                ],
            }
        )
    )
    return path


@pytest.fixture
def kaggle(archive):
    """Kaggle: a POST for the download, with the user's name and key."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
            asked.append((self.path, body, self.headers.get("Authorization")))
            known = body.get("datasetSlug") == "our-street"
            content = archive.read_bytes() if known else b"{}"
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", "application/zip" if known else "application/octet-stream")
            self.end_headers()
            self.wfile.write(content)

    # another process of the same run may have it
    with FileLock(Path(tempfile.gettempdir(), f"meisho-tests-port-{PORT}")):
        try:
            http = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
        except OSError:
            pytest.skip(f"port {PORT}, the only one where Kaggle's client looks on loopback, cannot be had")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield asked
        http.shutdown()
        http.server_close()
        thread.join()


def run_get(manifest, root, home, **environment):
    """Get in a process of its own: the client looks for credentials as soon as it is imported."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("KAGGLE") and "proxy" not in k.lower()}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GET, manifest, root],
        env={**kept, "HOME": str(home), "KAGGLE_API_ENVIRONMENT": "LOCALHOST", **environment},
        capture_output=True,
        text=True,
    )


def test_a_data_set_comes_through_the_official_client(kaggle, manifest, tmp_path):
    root, home = tmp_path / "root", tmp_path / "home"
    (home / ".kaggle").mkdir(parents=True)
    credentials = home / ".kaggle" / "kaggle.json"
    credentials.write_text(json.dumps({"username": "reader", "key": "0123"}))
    credentials.chmod(0o600)
    done = run_get(manifest, root, home)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""  # what the client prints does not mix with ours
    assert (root / "street/1.jpg").read_bytes() == b"one" * 5000
    assert all(status.is_good for status in check_files(read_manifest(manifest), root, deep=True))
    (path, body, authorization), *_ = kaggle
    assert path.endswith("DownloadDataset") and body["ownerSlug"] == "someone"
    assert authorization.startswith("Basic ")
    assert run_get(manifest, root, home).returncode == 0
    assert len(kaggle) == 1  # and not again


def test_without_credentials_it_says_where_they_go(kaggle, manifest, tmp_path):
    done = run_get(manifest, tmp_path / "root", tmp_path)
    assert done.returncode == 1
    assert "no credentials for someone/our-street" in done.stderr
    assert "~/.kaggle/kaggle.json" in done.stderr and "KAGGLE_KEY" in done.stderr
    assert "put it at" in done.stderr
    assert "Authentication required" not in done.stderr  # its own text about logins, twice
    assert kaggle == []


def test_what_kaggle_refuses_is_said(kaggle, manifest, tmp_path):
    manifest.write_text(manifest.read_text().replace("our-street", "no-street"))
    done = run_get(manifest, tmp_path / "root", tmp_path, KAGGLE_USERNAME="reader", KAGGLE_KEY="0123")
    assert done.returncode == 1
    assert "Kaggle refuses someone/no-street: 404" in done.stderr


def test_without_the_package_it_says_what_to_install(manifest, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaggle", None)
    monkeypatch.setitem(sys.modules, "kaggle.api", None)
    monkeypatch.setitem(sys.modules, "kaggle.api.kaggle_api_extended", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'meisho\[kaggle\]'"):
        get_dataset(read_manifest(manifest), tmp_path / "root")


def test_an_archive_got_by_hand_needs_no_kaggle(manifest, archive, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaggle", None)
    root = tmp_path / "root"
    (root / "downloads").mkdir(parents=True)
    (root / "downloads/street.zip").write_bytes(archive.read_bytes())
    get_dataset(read_manifest(manifest), root)
    assert (root / "street/1.jpg").is_file()


def test_a_mirror_needs_no_kaggle(manifest, archive, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaggle", None)
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    with pytest.raises(FetchError, match=r"street.zip: cannot be read"):
        get_dataset(read_manifest(manifest), tmp_path / "root", options=FetchOptions(mirror=str(mirror)))
    (mirror / "street.zip").write_bytes(archive.read_bytes())
    get_dataset(read_manifest(manifest), tmp_path / "root", options=FetchOptions(mirror=str(mirror)))
    assert (tmp_path / "root/street/1.jpg").is_file()
