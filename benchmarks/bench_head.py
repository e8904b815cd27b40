"""The margin head over many classes: time and memory of three ways, and whether they agree.

    python benchmarks/bench_head.py [--classes 81313] [--batch 256] [--device auto]

The three ways of one ArcFace loss, forward and backward: "plain" holds the (B, C) matrix of logits, as the
chapter's script does; "chunked" is meisho's head; "sharded" is that with its classes spread over two
processes, each with half of the photos, on a GPU each where there are two, else both on one. Each way runs
in a process of its own, whose peak memory it is: of the GPU, else what the process took beyond its start.

Ends with 1 where loss or gradients differ from those of the plain way.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional

from meisho.extractors.devices import choose_device
from meisho.layers.class_shard import Shard
from meisho.layers.margin_heads import MarginHead, make_head
from peak_memory import read_peak_bytes

DIM, STEPS, RANKS = 512, 5, 2
KEPT_CLASSES = 1000
"""Classes whose gradients are compared, besides those of the photos: all of them would be 0.4 GB a file."""
MOST_DIFFERENCE = 1e-4


@dataclass(frozen=True)
class Measured:
    """What one way took and gave.

    Attributes:
        ms: Per step, median.
        peak_bytes: Of the process that took most.
        values: Name -> loss, or gradients of all photos and of the kept classes.
    """

    ms: float
    peak_bytes: int
    values: dict[str, np.ndarray]


def main() -> None:
    arguments = parse_arguments()
    if arguments.rank is not None:
        run_rank(arguments)
        return
    print("| way | ms per step | peak MB | most different |\n|---|---:|---:|---:|")
    plain = measure("plain", arguments.classes, arguments.batch, arguments.device)
    worst = 0.0
    for way in ("plain", "chunked", "sharded"):
        measured = (
            plain if way == "plain" else measure(way, arguments.classes, arguments.batch, arguments.device)
        )
        difference = most_different(measured, plain)
        worst = max(worst, difference)
        print(f"| {way} | {measured.ms:.1f} | {measured.peak_bytes / 1e6:.0f} | {difference:.1e} |")
    if worst > MOST_DIFFERENCE:
        raise SystemExit("the ways disagree")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--classes", type=int, default=81313)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--device", default="auto")
    for name in ("--way", "--folder"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(way: str, classes: int, batch: int, device: str) -> Measured:
    """Run one way in processes of its own: "plain", "chunked" or "sharded"."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, __file__, "--classes", str(classes), "--batch", str(batch)]
        command += ["--device", device, "--way", way, "--folder", name]
        ranks = range(RANKS if way == "sharded" else 1)
        processes = [
            subprocess.Popen([*command, "--rank", str(rank)], stderr=subprocess.PIPE, text=True)
            for rank in ranks
        ]
        said = [process.communicate()[1] for process in processes]
        if any(process.returncode for process in processes):
            raise SystemExit(f"the way {way!r} failed:\n" + "\n".join(said))
        parts = [dict(np.load(f"{name}/{rank}.npz")) for rank in ranks]
    joined = {key: np.concatenate([part[key] for part in parts]) for key in ("of_features", "of_weight")}
    joined["loss"] = parts[0]["loss"]
    return Measured(
        max(float(part["ms"]) for part in parts), max(int(part["peak_bytes"]) for part in parts), joined
    )


def most_different(found: Measured, expected: Measured) -> float:
    """Return the greatest difference of a loss or gradient, relative to the greatest of its kind."""
    return max(
        float(np.abs(found.values[key] - right).max() / np.abs(right).max())
        for key, right in expected.values.items()
    )


# ---- in the process that is measured


def run_rank(arguments: argparse.Namespace) -> None:
    """Measure one way, or one rank's part of it, and write what came out."""
    rank, folder = arguments.rank, Path(arguments.folder)
    device, shard = choose_device(arguments.device), None
    if arguments.way == "sharded":
        several = device.type == "cuda" and torch.cuda.device_count() >= RANKS
        device = torch.device("cuda", rank) if several else device
        dist.init_process_group(
            "nccl" if several else "gloo", f"file://{folder / 'store'}", rank=rank, world_size=RANKS
        )
        shard = Shard(rank, RANKS)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    took, values = measure_here(arguments.way, arguments.classes, arguments.batch, device, shard)
    np.savez(folder / f"{rank}.npz", **took, **values)
    if shard is not None:
        dist.barrier()  # gloo's threads abort a process that leaves while the other still talks to it
        dist.destroy_process_group()


def measure_here(
    way: str, classes: int, batch: int, device: torch.device, shard: Shard | None
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Return milliseconds and peak bytes, and the values that are compared."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(batch, DIM, generator=generator)
    labels = torch.randint(classes, (batch,), generator=generator)
    kept = np.union1d(labels.numpy(), np.linspace(0, classes - 1, KEPT_CLASSES, dtype=int))
    part = Shard.classes(shard, batch) if shard else range(batch)
    before = read_peak_bytes()
    head = make_head("arcface", classes, DIM, shard=shard).to(device)
    features = features[part.start : part.stop].to(device).requires_grad_()
    labels = labels[part.start : part.stop].to(device)
    seconds = [step(LOSSES[way], head, features, labels) for _ in range(STEPS + 1)][1:]
    on_gpu = device.type == "cuda"
    peak = torch.cuda.max_memory_allocated(device) if on_gpu else read_peak_bytes() - before
    ours = kept[(kept >= head.classes.start) & (kept < head.classes.stop)] - head.classes.start
    values = {
        "loss": LOSSES[way](head, features, labels).detach().cpu().numpy()[None],
        "of_features": features.grad.cpu().numpy() / (shard.num_ranks if shard else 1),
        "of_weight": head.weight.grad[torch.from_numpy(ours).to(device)].cpu().numpy(),
    }
    return {"ms": 1000 * float(np.median(seconds)), "peak_bytes": peak}, values


def step(
    loss_of: Callable[[MarginHead, Tensor, Tensor], Tensor],
    head: MarginHead,
    features: Tensor,
    labels: Tensor,
) -> float:
    """Compute the gradients once; return the seconds that it took."""
    features.grad = head.weight.grad = None
    wait_for(features.device)
    started = time.perf_counter()
    loss_of(head, features, labels).backward()
    wait_for(features.device)
    return time.perf_counter() - started


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


LOSSES: dict[str, Callable[[MarginHead, Tensor, Tensor], Tensor]] = {
    "plain": lambda head, features, labels: functional.cross_entropy(head.logits(features, labels), labels),
    "chunked": lambda head, features, labels: head(features, labels),
    "sharded": lambda head, features, labels: head(features, labels),
}


if __name__ == "__main__":
    main()
