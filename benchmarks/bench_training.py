"""Training throughput against the chapter's loop, in one run.

    python benchmarks/bench_training.py [--photos 96] [--batch 16] [--rounds 3]

Photos of 1600 × 1200 px are drawn first. The chapter's loop: each photo is decoded whole whenever it is
needed, cropped and normalised on its own (torchvision), two loader workers; float32, default memory format,
Adam. meisho's: a recipe of the same network (ResNet-34, GeM, 512 dimensions, batch norm, ArcFace; 256 px),
with its photo cache and `channels_last`, in float32 and in bf16. Rounds alternate; the first epoch of each is
not counted.

Prints images/s, the ratios with their range over rounds, and the share of time waiting for data. With
`--check` it fails where the better precision is below 1.5 times on a CPU, 5 times on a GPU, or waits for data
more than 10 % of the time.
"""

import argparse
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from meisho.config import parse_config
from meisho.layers.margin_heads import make_head
from meisho.training.history import EpochRecord
from meisho.training.network import TrainingNetwork, build_descriptor
from meisho.training.recipe import Recipe
from meisho.training.train import train

SIDE_PX, LANDMARKS = 256, 8
PRECISIONS = ("float32", "bf16")
CPU = torch.device("cpu")
MODEL = {"backbone": "resnet34", "weights": "none:0", "p": 3.0, "learn_p": True, "projection_dim": 512}


def draw_photos(root: Path, count: int, *, num_pictures: int | None = None) -> None:
    """Write photos of 1600 × 1200 px with some structure, a folder per landmark.

    Args:
        root: Where to.
        count: How many files.
        num_pictures: How many of them differ; None: all.
    """
    rng, jpegs = np.random.default_rng(0), []
    for _ in range(min(count, num_pictures or count)):
        coarse = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        jpegs.append(io.BytesIO())
        coarse.resize((1600, 1200), Image.Resampling.BICUBIC).save(jpegs[-1], "JPEG", quality=90)
    for number in range(count):
        folder = root / f"place_{number % LANDMARKS}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(jpegs[number % len(jpegs)].getvalue())


class ChapterPhotos(Dataset):
    """The chapter's data set: one photo at a time, from its file."""

    def __init__(self, root: Path, traits: object, most: int | None) -> None:
        self.paths = sorted(root.rglob("*.jpg"), key=lambda path: int(path.stem))[:most]
        self.change = v2.Compose(
            [
                v2.RandomResizedCrop(SIDE_PX, scale=(0.6, 1.0), antialias=True),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(traits.mean, traits.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.paths[row]) as photo:
            return self.change(photo.convert("RGB")), int(self.paths[row].parent.name.partition("_")[2])


class ChapterLoop:
    """Script 07's loop, step by step, on the first `most` photos."""

    def __init__(self, root: Path, batch: int, device: torch.device, *, most: int | None = None) -> None:
        recipe = make_recipe(root, root, batch, 1)
        descriptor = build_descriptor(recipe.model)
        photos = ChapterPhotos(root, descriptor.traits, most)
        self.loader = DataLoader(photos, batch, shuffle=True, num_workers=2, drop_last=True)
        head = make_head("arcface", LANDMARKS, 512)
        self.network = TrainingNetwork(descriptor, batch_norm=True, head=head).to(device).train()
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=1e-4)
        self.device = device

    def run(self, epochs: int) -> float:
        """Train some epochs; returns photos per second."""
        started, count = time.perf_counter(), 0
        for _ in range(epochs):
            for images, labels in self.loader:
                losses = self.network(images.to(self.device), labels.to(self.device))
                self.optimiser.zero_grad()
                losses.total.backward()
                self.optimiser.step()
                losses.total.item()
                count += len(images)
        return count / (time.perf_counter() - started)


def make_recipe(
    root: Path,
    folder: Path,
    batch: int,
    epochs: int,
    *,
    precision: str = "float32",
    device: torch.device = CPU,
) -> Recipe:
    """Make the recipe that is measured."""
    values = {
        "data": {
            "dataset": "folder",
            "root": str(root),
            "cache": str(folder / "cache"),
            "cache_side_px": 448,
        },
        "model": {**MODEL, "batch_norm": True},
        "augmentation": {"name": "crop", "on_device": device.type == "cuda"},
        "sampling": {"batch_size": batch},
        "optimiser": {"name": "adam", "backbone_rate": 1e-4, "head_rate": 1e-4},
        "schedule": {"epochs": epochs, "sizes": [{"px": SIDE_PX}]},
        "validation": {"share": 0.0, "at_start": False},
        "hardware": {"precision": precision, "device": "cpu" if device.type == "cpu" else "auto"},
    }
    return parse_config(values, Recipe, source="bench")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photos", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="fail below the targets")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as temporary:
        folder, root = Path(temporary), Path(temporary) / "photos"
        draw_photos(root, arguments.photos)
        plain, records = measure(root, folder, arguments.batch, arguments.rounds, device=device)
    print(f"the chapter's loop: {statistics.median(plain):.2f} images/s")
    found = [report(precision, plain, of_it) for precision, of_it in records.items()]
    ratio, waiting = max(found)
    if arguments.check and (ratio < (5.0 if device.type == "cuda" else 1.5) or waiting > 0.1):
        sys.exit("below the target")


def measure(
    root: Path,
    folder: Path,
    batch: int,
    rounds: int,
    *,
    device: torch.device,
    precisions: Sequence[str] = PRECISIONS,
    num_plain: int | None = None,
) -> tuple[list[float], dict[str, list[EpochRecord]]]:
    """Train by turns; return the rates of the chapter's loop, and the last epoch's record for each precision.

    Args:
        root: Photos of `draw_photos`.
        folder: Where the runs are kept.
        batch: Photos per step.
        rounds: How often each is trained.
        device: Where.
        precisions: Those of ours.
        num_plain: How many of the photos the chapter's loop goes through; None: all.
    """
    chapter = ChapterLoop(root, batch, device, most=num_plain)
    chapter.run(1)
    plain: list[float] = []
    records: dict[str, list[EpochRecord]] = {precision: [] for precision in precisions}
    for number in range(rounds):
        plain.append(chapter.run(1))
        for precision in precisions:
            recipe = make_recipe(root, folder, batch, 2, precision=precision, device=device)
            records[precision].append(train(recipe, folder / f"{precision}{number}").history[-1])
    return plain, records


def report(precision: str, plain: list[float], records: list[EpochRecord]) -> tuple[float, float]:
    """Print how fast meisho was in a precision; returns the ratio and the share of time waiting for data."""
    rates = [record.images_per_second for record in records]
    ratios = [rate / slow for rate, slow in zip(rates, plain, strict=True)]
    waiting = statistics.median(record.waiting for record in records)
    ratio = statistics.median(ratios)
    print(
        f"meisho, {precision}: {statistics.median(rates):.2f} images/s, {ratio:.2f} times as fast "
        f"({min(ratios):.2f} to {max(ratios):.2f}), {100 * waiting:.1f} % of the time waiting for data"
    )
    return ratio, waiting


if __name__ == "__main__":
    main()
