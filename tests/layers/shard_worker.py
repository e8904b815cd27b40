"""One of two ranks of `test_class_shard`: python shard_worker.py RANK STORE OUT.npz DEVICE."""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from meisho.layers.class_shard import Shard
from meisho.layers.margin_heads import make_head

NUM_CLASSES, DIM, BATCH, STEPS = 23, 6, 16, 3
HEADS = {
    "arcface": {"label_smoothing": 0.1},
    "dynamic": {"class_sizes": range(1, NUM_CLASSES + 1), "sub_centres": 2},
    "curricular": {},
}


def make_trunk():
    trunk = torch.nn.Linear(8, DIM)
    trunk.weight.data.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    trunk.bias.data.zero_()
    return trunk


def make_batches(device):
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        yield (
            torch.randn(BATCH, 8, generator=generator).to(device),
            torch.randint(NUM_CLASSES, (BATCH,), generator=generator).to(device),
        )


def train(name, rank, num_ranks, device, *, sharded):
    """Train trunk and head for some steps; return what must not depend on the number of ranks."""
    shard = Shard(rank, num_ranks) if sharded and num_ranks > 1 else None
    trunk = make_trunk().to(device)
    head = make_head(name, NUM_CLASSES, DIM, shard=shard, **HEADS[name]).to(device)
    head.chunk_classes = 5
    head.weight.data *= 50
    wrap = DistributedDataParallel if num_ranks > 1 else (lambda module: module)
    module, loss_of = wrap(trunk), head if sharded else wrap(head)
    losses, part = [], slice(rank * BATCH // num_ranks, (rank + 1) * BATCH // num_ranks)
    for images, labels in make_batches(device):
        loss = loss_of(module(images[part]), labels[part])
        loss.backward()
        losses.append(loss.item() if sharded else mean_over_ranks(loss.detach(), num_ranks))
        for parameter in (*trunk.parameters(), head.weight):
            parameter.data -= 0.1 * parameter.grad
            parameter.grad = None
    centres = head.full_weight()
    again = make_head(name, NUM_CLASSES, DIM, shard=shard, **HEADS[name]).to(device)
    again.load_full_weight(centres)
    assert torch.equal(again.weight, head.weight)
    values = {
        "losses": losses,
        "weight": centres,
        "trunk": trunk.weight.detach(),
        "answers": head.classify(trunk(images)),
        "t": head.margin.t if name == "curricular" else 0,
    }
    return {
        f"{name}-{'sharded' if sharded else 'whole'}/{key}": torch.as_tensor(value).cpu().numpy()
        for key, value in values.items()
    }


def mean_over_ranks(loss, num_ranks):
    if num_ranks > 1:
        dist.all_reduce(loss)
    return loss.item() / num_ranks


def train_all(rank, num_ranks, device):
    """Train every head with its classes spread, and one with its classes whole on every rank."""
    values = train("curricular", rank, num_ranks, device, sharded=False)
    for name in HEADS:
        values |= train(name, rank, num_ranks, device, sharded=True)
    return values


def main():
    rank, store, out, device = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{store}", rank=rank, world_size=2)
    np.savez(out, **train_all(rank, 2, device))
    dist.barrier()  # gloo's threads abort a process that leaves while the other still talks to it
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
