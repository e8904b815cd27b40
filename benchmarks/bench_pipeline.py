"""What each stage of indexing costs per photo; decoders side by side; whole runs against another checkout.

    python benchmarks/bench_pipeline.py PHOTOS [--photos 48] [--rounds 3]
    python benchmarks/bench_pipeline.py PHOTOS --before CHECKOUT [--rounds 5]

PHOTOS is a folder of photos, such as the database of a toy city. They are resized to 4000 × 3000 and to
800 × 600 px with a camera's grain, so that a JPEG has about a camera's number of bytes.

The stages run one after another in one thread on the same files, each round all of them: processor and wall
time, medians of the rounds. Decoders get the bytes and give RGB of the working size; PSNR is to decoding in
full and resizing by the exact filter. `--before` runs whole commands in processes of their own instead, the
two checkouts in turns: a new folder, the same with nothing in the disk's cache, and a folder of copies.
"""

import argparse
import hashlib
import importlib
import io
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from meisho.arrays import UInt8Array
from meisho.extractors.base import GlobalExtractor, load_extractor
from meisho.hashing import name_contents
from meisho.image_files import open_photo, upright_size
from meisho.images import INTERPOLATIONS, ImageOptions, load_sized_image, working_size
from meisho.jpeg import decode_jpeg
from meisho.photo_folder import find_photos
from meisho.photos import Photo
from meisho.planning import name_content
from meisho.store.collection import Collection
from meisho.store.records import PhotoRecord
from meisho.update import COMMIT_PHOTOS

SIZES_PX = {"12 MP": (4000, 3000), "0.5 MP": (800, 600)}
GRAIN = 5
STAGES = ("read", "hash", "decode", "resize", "describe", "commit")
CV2_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


@dataclass
class Costs:
    """Seconds of each stage, all photos of one round together."""

    processor: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    wall: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Add what happens inside to a stage."""
        wall, processor = time.perf_counter(), time.process_time()
        yield
        self.wall[stage] += time.perf_counter() - wall
        self.processor[stage] += time.process_time() - processor


def write_photos(photos: list[Path], to: Path, size: tuple[int, int]) -> list[Path]:
    """Write the photos at `size`, (width, height) px, with grain, quality 90."""
    to.mkdir()
    rng = np.random.default_rng(0)
    for path in photos:
        picture = Image.open(path).convert("RGB").resize(size, Image.Resampling.BICUBIC)
        grain = GRAIN * rng.standard_normal((size[1], size[0], 1), np.float32)
        pixels = np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(to / f"{path.stem}.jpg", quality=90)
    return sorted(to.iterdir())


def reduction_of(image: Image.Image, options: ImageOptions, headroom: float = 2) -> int:
    """Return by how much a JPEG is reduced while it is decoded, as `meisho.images` decides it."""
    width, height = working_size(*upright_size(image), options)
    room = min(upright_size(image)[0] / width, upright_size(image)[1] / height) / headroom
    return next((s for s in (8, 4, 2) if s <= room), 1)


def measure_stages(paths: list[Path], extractor: GlobalExtractor, folder: Path) -> Costs:
    """Run every stage over the photos, in one thread but for what the libraries start themselves."""
    costs, options = Costs(), extractor.image_options
    collection = Collection.create(
        folder, photo_root=paths[0].parent, provenance=extractor.provenance, dim=extractor.dim
    )
    with collection.writer() as writer:
        for first in range(0, len(paths), COMMIT_PHOTOS):
            batch = paths[first : first + COMMIT_PHOTOS]
            vectors, records = [], []
            for path in batch:
                with costs.of("read"):
                    data = path.read_bytes()
                with costs.of("hash"):
                    content = hashlib.sha256(data).hexdigest()
                photo = Photo(path.name, path, content=data)
                with costs.of("decode"), open_photo(photo) as image:
                    decode_jpeg(image, image.size, reduction_of(image, options))
                with costs.of("resize"):  # and decoding once more, which is taken off below
                    loaded = load_sized_image(photo, options)
                with costs.of("describe"):
                    vectors.append(extractor.extract(loaded.pixels[None])[0])
                records.append(PhotoRecord(path.name, content, len(data), 0, *loaded.size_px, file=path.name))
            with costs.of("commit"):
                writer.add_descriptors([r.content_sha256 for r in records], np.stack(vectors))
                writer.put_records(records)
    for seconds in (costs.processor, costs.wall):
        seconds["resize"] = max(0.0, seconds["resize"] - seconds["decode"])
    return costs


def print_stages(title: str, rounds: list[Costs], number: int) -> None:
    """Print one table: ms per photo."""
    print(f"\n{title}: ms per photo, one thread\n| stage | processor | wall | share |\n|---|---:|---:|---:|")
    middle = [
        {
            stage: 1000 * statistics.median(getattr(c, kind)[stage] for c in rounds) / number
            for stage in STAGES
        }
        for kind in ("processor", "wall")
    ]
    total = sum(middle[0].values())
    for stage in STAGES:
        print(
            f"| {stage} | {middle[0][stage]:.2f} | {middle[1][stage]:.2f} "
            f"| {100 * middle[0][stage] / total:.0f} % |"
        )
    print(f"| all | {total:.2f} | {sum(middle[1].values()):.2f} | |", flush=True)


def decoders(options: ImageOptions) -> dict[str, Callable[[bytes], UInt8Array]]:
    """Return ways from the bytes of a JPEG to RGB of the working size; those whose package is here."""
    filtering = INTERPOLATIONS[options.interpolation]

    def shrink(picture: Image.Image, size: tuple[int, int], gap: float | None = 3.0) -> UInt8Array:
        return np.asarray(picture.resize(working_size(*size, options), filtering, reducing_gap=gap))

    def full(data: bytes) -> UInt8Array:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        return shrink(image, image.size, None)

    def draft(data: bytes, headroom: float = 2) -> UInt8Array:
        image = Image.open(io.BytesIO(data))
        size, by = image.size, reduction_of(image, options, headroom)
        image.draft("RGB", (size[0] // by, size[1] // by))
        return shrink(image, size)

    def simple(data: bytes, headroom: float = 2, *, dct: bool, upsample: bool, strict: bool) -> UInt8Array:
        image = Image.open(io.BytesIO(data))
        by = reduction_of(image, options, headroom)
        width, height = (-(-side // by) for side in image.size)
        pixels = simplejpeg.decode_jpeg(
            data, "RGB", dct, upsample, min_height=height, min_width=width, min_factor=1, strict=strict
        )
        return shrink(Image.fromarray(pixels), image.size)

    def opencv(data: bytes) -> UInt8Array:
        image = Image.open(io.BytesIO(data))
        flags = CV2_REDUCED[reduction_of(image, options)] | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        return shrink(Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)), image.size)

    plain = partial(simple, dct=False, upsample=False)
    ways: dict[str, Callable[[bytes], UInt8Array]] = {
        "Pillow, in full, exact filter": full,
        "Pillow, draft": draft,
        "meisho (simplejpeg, strict)": lambda data: (
            load_sized_image(Photo("photo", Path("photo"), content=data), options).pixels
        ),
        "simplejpeg, not strict": partial(plain, strict=False),
        "simplejpeg, fastdct": partial(simple, dct=True, upsample=False, strict=True),
        "simplejpeg, fastupsample": partial(simple, dct=False, upsample=True, strict=True),
        "simplejpeg, both": partial(simple, dct=True, upsample=True, strict=True),
        "simplejpeg, headroom 1": partial(plain, headroom=1, strict=True),
        "OpenCV, reduced": opencv,
    }
    if importlib.util.find_spec("imagecodecs"):
        import imagecodecs

        ways["imagecodecs, in full"] = lambda data: shrink(
            Image.fromarray(imagecodecs.jpeg8_decode(data)), Image.open(io.BytesIO(data)).size
        )
    return ways


def print_decoders(title: str, paths: list[Path], options: ImageOptions, rounds: int) -> None:
    """Print one table: processor time per photo and likeness to full decoding."""
    print(f"\n{title}: bytes to {options.max_side_px} px\n| decoder | ms | PSNR, dB: median (least) |")
    print("|---|---:|---:|")
    files = [path.read_bytes() for path in paths]
    ways = decoders(options)
    exact = [ways["Pillow, in full, exact filter"](data) for data in files]
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, decode in ways.items():
            started = time.process_time()
            for data in files:
                decode(data)
            seconds[name].append(time.process_time() - started)
    for name, decode in ways.items():
        likeness = [psnr(decode(data), best) for data, best in zip(files, exact, strict=True)]
        ms = 1000 * statistics.median(seconds[name]) / len(files)
        print(f"| {name} | {ms:.1f} | {statistics.median(likeness):.1f} ({min(likeness):.1f}) |", flush=True)


def psnr(pixels: UInt8Array, exact: UInt8Array) -> float:
    """Return the likeness in dB; infinite where all are equal."""
    error = float(np.square(pixels.astype(np.float32) - exact).mean())
    return 10 * math.log10(255**2 / error) if error else math.inf


def print_hashing(title: str, paths: list[Path], rounds: int) -> None:
    """Print what hashing takes of the thread that leads, photo by photo and ahead of it in other threads."""
    photos = [Photo(path.name, path) for path in paths]
    ways: dict[str, Callable[[], list[object]]] = {
        "photo by photo": lambda: [name_content(photo) for photo in photos],
        **{f"ahead, threads: {n}": lambda n=n: [*name_contents(photos, num_threads=n)] for n in (1, 2, 4)},
    }
    print(
        f"\n{title}, hashed: ms per photo\n| how | leading thread | all threads | wall | wall, not cached |"
    )
    print("|---|---:|---:|---:|---:|")
    found: dict[str, list[list[float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds = []
            for is_cold in (False, True):
                if is_cold:
                    drop_from_cache(paths[0].parent)
                before = time.thread_time(), time.process_time(), time.perf_counter()
                way()
                after = time.thread_time(), time.process_time(), time.perf_counter()
                seconds += [now - then for now, then in zip(after, before, strict=True)]
            found[name].append(seconds)
    for name, runs in found.items():
        ms = [1000 * statistics.median(column) / len(paths) for column in zip(*runs, strict=True)]
        print(f"| {name} | {ms[0]:.3f} | {ms[1]:.2f} | {ms[2]:.2f} | {ms[5]:.2f} |", flush=True)


def drop_from_cache(folder: Path) -> None:
    """Take files out of the disk's cache, so that the next run reads the disk."""
    os.sync()
    for path in folder.iterdir():
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def index(checkout: Path, photos: Path, to: Path) -> tuple[float, float]:
    """Run `meisho index` of a checkout; returns seconds of wall and of processors."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    code = "from meisho.cli import main; main()"
    command = [sys.executable, "-c", code, "index", str(photos), "--to", str(to), "--no-default-excludes"]
    environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
    subprocess.run(command, check=True, env=environment, capture_output=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run_once(checkout: Path, paths: list[Path], folder: Path) -> dict[str, tuple[float, float]]:
    """Index a new folder, the same from the disk itself, and then four copies of each of its photos."""
    photos, to = folder / "whole", folder / "whole.meisho"
    photos.mkdir()
    for path in paths:
        shutil.copy(path, photos)
    costs = {"new folder": index(checkout, photos, to)}
    shutil.rmtree(to)
    drop_from_cache(photos)
    costs["new folder, not in the cache"] = index(checkout, photos, to)
    for path in paths:
        for copy in range(4):
            shutil.copy(path, photos / f"copy{copy}-{path.name}")
    costs["4 copies of each"] = index(checkout, photos, to)
    shutil.rmtree(photos)
    shutil.rmtree(to)
    return costs


def run_whole(title: str, paths: list[Path], before: Path, rounds: int, folder: Path) -> None:
    """Print wall and processor seconds of whole runs, this checkout against another."""
    checkouts = (Path(__file__).parent.parent, before)
    turns = [[run_once(checkout, paths, folder) for checkout in checkouts] for _ in range(rounds + 1)]
    for name in turns[0][0]:
        for column, kind in enumerate(("wall", "processor")):
            pairs = [[run[name][column] for run in turn] for turn in turns[1:]]  # the first warmed up
            ratios = [now / earlier for now, earlier in pairs]
            now, earlier = (statistics.median(each) for each in zip(*pairs, strict=True))
            print(
                f"{title}, {name}, {kind}: {now:.2f} s now, {earlier:.2f} s before; ratio "
                f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})",
                flush=True,
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="PHOTOS")
    parser.add_argument("--photos", type=int, default=48, help="how many photos of the folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="default")
    parser.add_argument("--before", type=Path, help="a checkout to compare whole runs with")
    arguments = parser.parse_args()
    photos = [photo.path for photo in find_photos(arguments.folder).photos][: arguments.photos]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title, size in SIZES_PX.items():
            paths = write_photos(photos, folder / title, size)
            megabytes = sum(path.stat().st_size for path in paths) / len(paths) / 1e6
            title = f"{title} ({len(paths)} photos, {size[0]} × {size[1]} px, {megabytes:.2f} MB each)"
            if arguments.before:
                run_whole(title, paths, arguments.before.resolve(), arguments.rounds, folder)
                continue
            extractor = load_extractor(arguments.model)
            measure_stages(paths[:4], extractor, folder / "warm-up.meisho")
            rounds = []
            for turn in range(arguments.rounds):
                rounds.append(measure_stages(paths, extractor, folder / f"{size[0]}-{turn}.meisho"))
            shutil.rmtree(folder / "warm-up.meisho")
            print_stages(title, rounds, len(paths))
            print_hashing(title, paths, max(9, arguments.rounds))
            print_decoders(title, paths[:16], extractor.image_options, arguments.rounds)


if __name__ == "__main__":
    main()
