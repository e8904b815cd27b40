"""Extraction of 12-megapixel photos: meisho against the chapter's way, as a ratio.

The chapter's way, written plainly: one loader of two workers, each photo decoded in full and resized, given
to the network one at a time in torch's default memory format. Same photos, network, weights and working size.
The two are run in pairs, in changing order, each from an idle start; both must give the same descriptors.
Ends with 1 where the median ratio is below the target (2 on two cores, 10 on a GPU).

    python benchmarks/bench_extraction.py [--photos 64] [--pairs 5] [--model default] [--device auto]
"""

import argparse
import copy
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from meisho.arrays import Float32Array, UInt8Array
from meisho.describing import Describer
from meisho.extractors.base import GlobalExtractor, load_extractor
from meisho.extractors.devices import choose_device
from meisho.extractors.timm_gem import TimmGeM, to_torch
from meisho.images import working_size
from meisho.photos import Photo

WIDTH, HEIGHT, QUALITY = 4000, 3000, 90
NUM_PICTURES = 8
TARGETS = {"cpu": 2.0, "cuda": 10.0}  # the first on two cores


def draw_picture(seed: int) -> UInt8Array:
    """Facades with windows before a cloudy sky, and noise: its JPEG is as large as a camera's."""
    rng = np.random.default_rng(seed)
    canvas = 25 * draw_clouds(rng) + np.array([130, 150, 180], np.float32)
    for _ in range(14):
        width, height = int(rng.integers(500, 1400)), int(rng.integers(900, 2600))
        x, y = int(rng.integers(-200, WIDTH - 300)), HEIGHT - height - int(rng.integers(0, 300))
        rows, columns = rng.integers(3, 12, 2)
        facade = draw_facade(rng, width, height, int(rows), int(columns))
        facade = facade[:, max(0, -x) :][:, : WIDTH - max(0, x)]
        canvas[y : y + height, max(0, x) : max(0, x) + facade.shape[1]] = facade
    canvas += 6 * draw_clouds(rng) + 5 * rng.standard_normal((HEIGHT, WIDTH, 1), dtype=np.float32)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def draw_clouds(rng: np.random.Generator) -> Float32Array:
    """Noise of all scales (1/f), (HEIGHT, WIDTH, 1)."""
    canvas = np.zeros((HEIGHT, WIDTH), np.float32)
    for octave in range(1, 9):
        cells = rng.standard_normal((2**octave, 2**octave)).astype(np.float32)
        layer = Image.fromarray(cells).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
        canvas += np.asarray(layer) / octave
    return canvas[..., None]


def draw_facade(rng: np.random.Generator, width: int, height: int, rows: int, columns: int) -> Float32Array:
    """A wall with framed windows, (height, width, 3)."""
    wall, frame, glass = (rng.uniform(low, low + 90, 3) for low in (100, 160, 10))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    u, v = np.abs(x * columns / width % 1 - 0.5), np.abs(y * rows / height % 1 - 0.5)
    facade = np.where((np.maximum(u, v) < 0.32)[..., None], frame, wall)
    pane = (np.maximum(u, v) < 0.27) & (u > 0.02)
    return np.where(pane[..., None], glass, facade).astype(np.float32)


def write_photos(folder: Path, number: int, *, num_pictures: int = NUM_PICTURES) -> list[Photo]:
    """Write `num_pictures` different pictures, again and again up to `number` files."""
    jpegs = []
    for seed in range(min(num_pictures, number)):
        path = folder / f"picture{seed}.jpg"
        Image.fromarray(draw_picture(seed)).save(path, quality=QUALITY)
        jpegs.append(path.read_bytes())
        path.unlink()
    photos = []
    for n in range(number):
        path = folder / f"{n:04}.jpg"
        path.write_bytes(jpegs[n % len(jpegs)])
        photos.append(Photo(path.name, path))
    return photos


class PlainPhotos(Dataset[torch.Tensor]):
    """Each photo decoded in full, resized by PIL, normalised: (3, H, W) float32."""

    def __init__(self, photos: list[Photo], extractor: TimmGeM) -> None:
        traits = extractor.network.traits
        self.photos, self.options = photos, extractor.image_options
        self.mean, self.std = (torch.tensor(v).view(3, 1, 1) for v in (traits.mean, traits.std))

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, row: int) -> torch.Tensor:
        image = Image.open(self.photos[row].path).convert("RGB")
        image = image.resize(working_size(*image.size, self.options), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float() / 255
        return (pixels - self.mean) / self.std


@torch.no_grad()
def describe_plainly(photos: list[Photo], extractor: TimmGeM, network: torch.nn.Module) -> Float32Array:
    """Describe photos the chapter's way."""
    loader = DataLoader(PlainPhotos(photos, extractor), batch_size=1, num_workers=2)
    rows = [torch.nn.functional.normalize(network(image.to(extractor.device))).cpu() for image in loader]
    return torch.cat(rows).numpy()


def measure_pairs(
    photos: list[Photo],
    extractor: GlobalExtractor,
    num_pairs: int,
    *,
    device: str = "auto",
    num_plain: int | None = None,
) -> list[tuple[float, float]]:
    """Time both in `num_pairs` pairs, print each, and return their rates, photos per second: plain, meisho.

    The plain way is given the first `num_plain` photos alone: its rate does not depend on their number, and a
    GPU is through with as many before it has warmed up.
    """
    plain = to_torch(extractor, device=device)
    plain_network = copy.deepcopy(plain.network).to(memory_format=torch.contiguous_format)
    runs = {
        "plain": (photos[:num_plain], lambda some: describe_plainly(some, plain, plain_network)),
        "meisho": (photos, lambda some: Describer(extractor).describe(some).vectors),
    }
    for some, run in runs.values():
        run(some[:16])
    found = []
    for pair in range(num_pairs):
        rates, cpu_ms, vectors = {}, {}, {}
        for name in sorted(runs, reverse=pair % 2 == 0):
            some, run = runs[name]
            start, cpu_start = time.perf_counter(), cpu_seconds()
            vectors[name] = run(some)
            rates[name] = len(some) / (time.perf_counter() - start)
            cpu_ms[name] = 1000 * (cpu_seconds() - cpu_start) / len(some)
        cosine = float((vectors["plain"] * vectors["meisho"][: len(vectors["plain"])]).sum(axis=1).min())
        if cosine < 0.99:
            raise SystemExit(f"the two disagree: least cosine of their descriptors {cosine:.4f}")
        found.append((rates["plain"], rates["meisho"]))
        for name in runs:
            print(
                f"  {name:6} {rates[name]:7.1f} photos/s, {cpu_ms[name]:6.0f} ms of processor time per photo"
            )
        ratio = rates["meisho"] / rates["plain"]
        print(f"pair {pair + 1}: ratio {ratio:.2f}, least cosine {cosine:.4f}", flush=True)
    return found


def cpu_seconds() -> float:
    """Processor time of this process and of its children that have ended: other work does not count."""
    return sum(os.times()[:4])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--model", default="default")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    extractor, device = (
        load_extractor(arguments.model, device=arguments.device),
        choose_device(arguments.device),
    )
    with tempfile.TemporaryDirectory() as folder:
        photos = write_photos(Path(folder), arguments.photos)
        megabytes = sum(photo.path.stat().st_size for photo in photos) / len(photos) / 1e6
        print(
            f"{len(photos)} photos of {WIDTH} × {HEIGHT} px, {megabytes:.1f} MB each; {arguments.model} at "
            f"{extractor.image_options.max_side_px} px on {device}; {os.cpu_count()} cores"
        )
        rates = measure_pairs(photos, extractor, arguments.pairs, device=arguments.device)
    ratios = [ours / plain for plain, ours in rates]
    median, target = statistics.median(ratios), TARGETS[device.type]
    print(f"meisho / plain: median {median:.2f} ({min(ratios):.2f} to {max(ratios):.2f}), target {target}")
    if median < target:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
