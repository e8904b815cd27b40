"""A small published data set: a table, two archives with their MD5 files, and its manifest."""

import hashlib
import io
import json
import tarfile

import numpy as np


def make_archive(contents):
    """A tar archive of {name: bytes}, as bytes."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def make_photos(*, shard, count=6, seed=0):
    """{a/b/c/abc….jpg: bytes} with made-up ids, like a shard of GLDv2."""
    rng = np.random.default_rng([seed, shard])
    ids = [rng.bytes(8).hex() for _ in range(count)]
    return {f"{i[0]}/{i[1]}/{i[2]}/{i}.jpg": rng.bytes(5000) for i in ids}


class PublishedSet:
    """Publishes the set on a server; `manifest` is its JSON."""

    def __init__(self, server, *, shards=3, checksums=True):
        self.server = server
        self.photos = [make_photos(shard=number) for number in range(shards)]
        rows = ["id,url,landmark_id"]
        for number, photos in enumerate(self.photos):
            for place, path in enumerate(photos):
                rows.append(f"{path[6:-4]},https://example.org,{number * 10 + place // 3}")
        self.files = {"metadata/train.csv": "\n".join(rows).encode()}
        for number, photos in enumerate(self.photos):
            archive = make_archive(photos)
            digest = hashlib.md5(archive).hexdigest()
            self.files[f"train/images_{number:03}.tar"] = archive
            self.files[f"md5sum/md5.images_{number:03}.txt"] = f"{digest}  images_{number:03}.tar\n".encode()
        for path, content in self.files.items():
            server.put(path, content)
        self.manifest = self._manifest(shards, checksums)

    def _manifest(self, shards, checksums):
        numbers = {"first": 0, "last": shards - 1, "digits": 3}
        tar = {
            "path": "train/images_{shard}.tar",
            "urls": [f"{self.server.url}/train/images_{{shard}}.tar"],
            "part": "train",
            "shards": numbers,
            "about_bytes": 40_000,
            "classes_in": "metadata/train.csv",
            "unpack": {"to": "train", "only": ["*.jpg"], "max_members": 50, "max_bytes": 100_000},
        }
        files = [
            {
                "path": "metadata/train.csv",
                "urls": [f"{self.server.url}/metadata/train.csv"],
                "part": "metadata",
                "about_bytes": 1000,
            },
            tar,
        ]
        if checksums:
            tar["md5_in"] = "md5sum/md5.images_{shard}.txt"
            files.append(
                {
                    "path": "md5sum/md5.images_{shard}.txt",
                    "urls": [f"{self.server.url}/md5sum/md5.images_{{shard}}.txt"],
                    "part": "train",
                    "shards": numbers,
                    "about_bytes": 60,
                }
            )
        return {
            "name": "street",
            "title": "A street",
            "licence": "CC0",
            "homepage": "https://example.org/street",
            "default_parts": ["metadata", "train"],
            "files": files,
        }

    def write_manifest(self, path):
        path.write_text(json.dumps(self.manifest))
        return path

    def paths(self, *shards):
        """Where the photos of some shards lie below the data set's folder."""
        return {f"train/{path}": content for n in shards for path, content in self.photos[n].items()}
