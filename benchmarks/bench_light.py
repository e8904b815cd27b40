"""The default model on ONNX Runtime against the same on torch: processor time and rate, as ratios.

Both describe the same images of 288 × 384 px in turn, each in a process of its own, in changing order; the
medians over the pairs are printed of:

- processor time: photos per processor second, ONNX Runtime / torch; target 1.7;
- rate: photos per second, ONNX Runtime / torch; target 2 on two cores;
- busy: ONNX Runtime's processor time per photo beside `--busy` processes that compute, by that of a quiet
  machine; target 1.3 at most. torch's is printed too.

Other work on the machine makes it noisy: the ratios are of neighbours in time. Ends with 1 where a target is
missed.

    python benchmarks/bench_light.py [--pairs 7] [--photos 32] [--busy 4]
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import numpy as np

TARGETS = {"processor time": 1.7, "rate": 2.0}
BUSY_TARGET = 1.3


def describe(library: str, photos: int, connection: Connection) -> None:
    """Describe `photos` images whenever asked; answer with processor and wall seconds per photo."""
    from meisho.extractors.base import load_extractor
    from meisho.extractors.timm_gem import to_torch

    extractor = load_extractor("default", device="cpu")
    if library == "torch":
        extractor = to_torch(extractor, device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (photos, 288, 384, 3), dtype=np.uint8)
    extractor.extract(images[:4])
    connection.send(extractor.extract(images[:4]))
    while connection.recv():
        wall, cpu = time.perf_counter(), time.process_time()
        extractor.extract(images)
        connection.send(((time.process_time() - cpu) / photos, (time.perf_counter() - wall) / photos))


@contextmanager
def described_by(library: str, photos: int) -> Iterator[Connection]:
    """Run `describe` in a process; the first answer are descriptors of four images."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=describe, args=(library, photos, theirs))
    process.start()
    try:
        yield ours
    finally:
        ours.send(False)
        process.join()


def compute_forever() -> None:
    """Keep one core busy."""
    values = np.random.default_rng(0).random(1000)
    while True:
        values = np.sort(values)[::-1].copy()


@contextmanager
def busy_processes(number: int) -> Iterator[None]:
    """Compute something else in `number` processes meanwhile."""
    others = [multiprocessing.get_context("spawn").Process(target=compute_forever) for _ in range(number)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.terminate()
            other.join()


def measure(workers: dict[str, Connection], pair: int) -> dict[str, tuple[float, float]]:
    """Let both describe, one after the other; the order changes from pair to pair."""
    seconds = {}
    for library in sorted(workers, reverse=pair % 2 == 0):
        workers[library].send(True)
        seconds[library] = workers[library].recv()
    return seconds


def show(name: str, values: list[float]) -> float:
    """Print a median with its range, and return it."""
    median = statistics.median(values)
    print(f"{name}: median {median:.2f} ({min(values):.2f} to {max(values):.2f})", flush=True)
    return median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--photos", type=int, default=32)
    parser.add_argument("--busy", type=int, default=4)
    arguments = parser.parse_args()
    with described_by("torch", arguments.photos) as torch, described_by("onnx", arguments.photos) as onnx:
        workers = {"torch": torch, "onnx": onnx}
        difference = float(np.abs(torch.recv() - onnx.recv()).max())
        print(f"largest difference of a descriptor: {difference:.1g}")
        quiet, busy = [], []
        for pair in range(arguments.pairs):
            quiet.append(measure(workers, pair))
            with busy_processes(arguments.busy):
                time.sleep(1)  # until they have started
                busy.append(measure(workers, pair))
    for library in workers:
        cpu, wall = (1000 * statistics.median(each[library][part] for each in quiet) for part in (0, 1))
        print(f"{library}: {cpu:.1f} ms of processor time and {wall:.1f} ms per photo")
    medians = {
        name: show(f"{name}, onnx / torch", [each["torch"][part] / each["onnx"][part] for each in quiet])
        for part, name in enumerate(TARGETS)
    }
    slower = {
        library: show(
            f"{library}, processor time beside {arguments.busy} busy processes / quiet",
            [b[library][0] / q[library][0] for b, q in zip(busy, quiet, strict=True)],
        )
        for library in workers
    }
    missed = [name for name, target in TARGETS.items() if medians[name] < target]
    missed += ["busy"] * (slower["onnx"] > BUSY_TARGET) + ["difference"] * (difference > 1e-5)
    if missed:
        raise SystemExit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
