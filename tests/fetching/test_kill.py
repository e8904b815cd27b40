import hashlib
import signal
import subprocess
import sys

import numpy as np
import pytest

from meisho.fetching.getting import get_dataset
from meisho.fetching.manifest import read_manifest
from processes import kill, started, wait_until

from .sets import PublishedSet, make_archive

GET = """
import os, signal, sys
from pathlib import Path
def kill(event, arguments):
    if any(str(argument) == sys.argv[3] for argument in arguments):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
from meisho.fetching.getting import get_dataset
from meisho.fetching.manifest import read_manifest
get_dataset(read_manifest(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def getting(manifest, root, *, killed_at=""):
    """Start to get a data set; the process is killed when it opens, makes or moves a certain path."""
    return started([sys.executable, "-c", GET, manifest, root, killed_at], stderr=subprocess.DEVNULL)


def photos_below(root):
    return {
        p.relative_to(root).as_posix(): p.read_bytes()
        for p in root.rglob("*.jpg")
        if ".fetched" not in p.parts
    }


@pytest.mark.parametrize("kills", [3])
def test_a_killed_download_goes_on_where_it_was(server, tmp_path, kills):
    published = PublishedSet(server, shards=1)
    content = {f"0/0/0/{n}.jpg": np.random.default_rng(n).bytes(400_000) for n in range(10)}
    archive = make_archive(content)
    server.put("train/images_000.tar", archive)
    server.put("md5sum/md5.images_000.txt", hashlib.md5(archive).hexdigest().encode())
    published.manifest["files"][1]["about_bytes"] = len(archive)
    published.manifest["files"][1]["unpack"]["max_bytes"] = 10**8
    manifest, root = published.write_manifest(tmp_path / "m.json"), tmp_path / "root"
    part = root / "downloads/train/images_000.tar.part"
    for number in range(1, kills + 1):
        server.hold_after(1_200_000)
        with getting(manifest, root) as process:
            has_come = lambda: part.exists() and part.stat().st_size > number * 900_000  # noqa: B023, E731
            wait_until(has_come, process)
            kill(process)
        server.let_go()
        assert photos_below(root) == {}
    came = part.stat().st_size
    get_dataset(read_manifest(manifest), root)
    assert photos_below(root) == {f"train/{name}": data for name, data in content.items()}
    assert server.requests[-1][:2] == ("train/images_000.tar", f"bytes={came}-")
    assert server.sent < 1.5 * len(archive)  # what lay in the killed processes' sockets is lost


def test_killed_while_unpacking_nothing_half_written_stays(server, tmp_path):
    published = PublishedSet(server, shards=1)
    rng = np.random.default_rng(0)
    content = {f"{n % 16:x}/0/0/{n}.jpg": rng.bytes(3000) for n in range(1200)}
    archive = make_archive(content)
    server.put("train/images_000.tar", archive)
    server.put("md5sum/md5.images_000.txt", hashlib.md5(archive).hexdigest().encode())
    published.manifest["files"][1]["unpack"] |= {"max_members": 5000, "max_bytes": 10**8}
    manifest, root = published.write_manifest(tmp_path / "m.json"), tmp_path / "root"
    unpacking = root / ".fetched/unpacking/train_images_000.tar"
    # within unpacking, and within moving
    for reached in (unpacking / "7/0/0/599.jpg", root / "train/3/0/0/403.jpg"):
        with getting(manifest, root, killed_at=reached) as process:
            assert process.wait() == -signal.SIGKILL
        for name, data in photos_below(root).items():
            assert content[name.removeprefix("train/")] == data
    get_dataset(read_manifest(manifest), root)
    assert photos_below(root) == {f"train/{name}": data for name, data in content.items()}
    assert not unpacking.exists()
    assert server.count("train/images_000.tar") == 1
