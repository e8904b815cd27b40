"""Margin heads: features and labels -> the loss of a classifier on cosines, which training alone needs.

Every head here is one classifier, `MarginHead`, with one of the `MARGINS`: ArcFace, CosFace, dynamic margins
by class size, CurricularFace, or none; each with one centre per class or several. The (B, C) matrix of
logits is never held: the cross-entropy and its gradient are computed over some thousand classes at a time,
so that 203 k classes fit, and the classes may be spread over the ranks of a process group (`Shard`).
"""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from meisho.layers.chunked_loss import (
    ChunkedCrossEntropy,
    LogitTask,
    nearest_cosines,
    split_classes,
    to_directions,
)
from meisho.layers.class_shard import (
    GatherRows,
    Shard,
    answer_of_best,
    gather_classes,
    gather_rows,
    sum_over_ranks,
)
from meisho.layers.margins import MARGINS, Margin, Rule
from meisho.tables import require_name, require_options

CHUNK_CLASSES = 16384
"""Classes whose logits are held at a time: 17 MB for each of a few matrices at a batch of 256."""

HEADS: Mapping[str, Callable[..., Margin]] = MARGINS
"""Name of a head -> the class of its margin. Sub-centre ArcFace is "arcface" with `sub_centres=3`."""

_NO_OPTIONS = {"num_classes", "dim", "margin", "shard"}  # arguments of `MarginHead` that no recipe names
_INIT_STD = 0.01
_INIT_ROWS = 4096


class MarginHead(nn.Module):
    """A classifier by cosines with a margin: the loss that training makes descriptors with.

    Everything is computed in float32, inside autocast too. Gradients are finite where a feature equals the
    centre of its class, and where it is zero.

    With a `shard`, every rank of the process group holds part of the classes and calls the head with as many
    photos as the others. The loss is then the mean over the photos of all ranks, the same on each. The
    gradient of the features is that of (number of ranks) × loss, because DistributedDataParallel takes the
    mean over ranks of the trunk's gradients; the gradient of `weight` is that of the loss, and `weight` must
    be kept out of DistributedDataParallel. [An et al. 2021, arXiv:2010.05222, without sampling of classes]

    Attributes:
        weight: (classes of this rank, K, D) centres, of any length: their directions count.
        chunk_classes: Classes whose logits are held at a time; fewer take less memory.

    Args:
        num_classes: C, over all ranks.
        dim: D, of the features.
        margin: One of `MARGINS`.
        scale: The cosines' factor, s in the papers.
        sub_centres: K, centres per class; the nearest counts [Deng et al. 2020, sub-centre ArcFace, ECCV].
        label_smoothing: The share of the target that is spread evenly over all classes, as in
            `torch.nn.functional.cross_entropy`.
        seed: Seed of the first weights, which do not depend on the number of ranks.
        shard: This rank's part, if the classes are spread over ranks.

    Raises:
        ValueError: A number is out of its range; in `forward`, a label is.
    """

    def __init__(
        self,
        num_classes: int,
        dim: int,
        margin: Margin,
        *,
        scale: float = 30.0,
        sub_centres: int = 1,
        label_smoothing: float = 0.0,
        seed: int = 0,
        shard: Shard | None = None,
    ) -> None:
        super().__init__()
        if min(num_classes, dim, sub_centres) < 1 or not scale > 0:
            raise ValueError("num_classes, dim, sub_centres and scale must be positive")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing is {label_smoothing}; it must be at least 0 and less than 1")
        self.num_classes, self.dim, self.margin = num_classes, dim, margin
        self.scale, self.label_smoothing = float(scale), float(label_smoothing)
        self.chunk_classes, self.shard = CHUNK_CLASSES, shard
        self.classes = shard.classes(num_classes) if shard else range(num_classes)
        if not self.classes:
            raise ValueError(f"{num_classes} classes are too few to be spread over the ranks")
        self.weight = nn.Parameter(_first_weight(num_classes, self.classes, sub_centres, dim, seed))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of (B, D) features and their (B,) int64 classes, a float32 scalar."""
        with torch.autocast(features.device.type, enabled=False):
            self._check_labels(labels)
            features = features.float()
            if self.shard is not None:
                features, labels = GatherRows.apply(features, self.shard), gather_rows(labels, self.shard)
            directions = to_directions(features)
            target_cosines = self.target_cosines(directions.detach(), labels)
            if self.training:
                self.margin.observe(target_cosines)
            rule = self.margin.rule(labels, target_cosines)
            loss: Tensor = ChunkedCrossEntropy.apply(directions, self.weight, self._task(labels, rule))
            return loss

    def logits(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the (B, C) float32 logits whose cross-entropy `forward` gives; for few classes.

        With a `shard` they are those of this rank's classes; features and labels are taken as they are.
        """
        with torch.autocast(features.device.type, enabled=False):
            directions = to_directions(features.float())
            rule = self.margin.rule(labels, self.target_cosines(directions.detach(), labels))
            return self._task(labels, rule).logits(directions, self.weight, 0)

    @torch.no_grad()
    def classify(self, features: Tensor) -> Tensor:
        """Return the (B,) int64 classes of greatest cosine, without margins.

        With a `shard`, every rank gives the same features and gets the same answer.
        """
        with torch.autocast(features.device.type, enabled=False):
            directions = to_directions(features.float())
            best = directions.new_full((len(features),), -math.inf)
            answer = torch.zeros(len(features), dtype=torch.int64, device=features.device)
            for first, centres in self._chunks():
                values, columns = nearest_cosines(directions, centres).max(dim=1)
                answer = torch.where(values > best, columns + (self.classes.start + first), answer)
                best = torch.maximum(best, values)
            return answer if self.shard is None else answer_of_best(best, answer, self.shard)

    @torch.no_grad()
    def target_cosines(self, directions: Tensor, labels: Tensor) -> Tensor:
        """Return the (B,) cosines of (B, D) unit features to the nearest centres of their own classes."""
        own = labels - self.classes.start
        here = (own >= 0) & (own < len(self.classes))
        centres = to_directions(self.weight[own.clamp(0, len(self.classes) - 1)])
        cosines = torch.einsum("bd,bkd->bk", directions, centres).amax(dim=1) * here
        return cosines if self.shard is None else sum_over_ranks(cosines, self.shard)

    @torch.no_grad()
    def full_weight(self) -> Tensor:
        """Return the (C, K, D) centres of all ranks: what a checkpoint holds. All ranks must call it."""
        if self.shard is None:
            return self.weight.detach().clone()
        return gather_classes(self.weight.detach(), self.num_classes, self.shard)

    @torch.no_grad()
    def load_full_weight(self, weight: Tensor) -> None:
        """Take this rank's part of (C, K, D) centres, whatever the number of ranks that saved them."""
        self.weight.copy_(weight[self.classes.start : self.classes.stop])

    def extra_repr(self) -> str:
        """Show the sizes when the module is printed."""
        return f"num_classes={self.num_classes}, dim={self.dim}, scale={self.scale:g}"

    def _check_labels(self, labels: Tensor) -> None:
        if labels.device.type == "cpu" and not bool(((labels >= 0) & (labels < self.num_classes)).all()):
            raise ValueError(f"labels must be from 0 to {self.num_classes - 1}")  # a GPU is not waited for

    def _task(self, labels: Tensor, rule: Rule) -> LogitTask:
        own = labels - self.classes.start
        smoothing = self.label_smoothing
        return LogitTask(own, rule, self.scale, smoothing, self.num_classes, self.chunk_classes, self.shard)

    def _chunks(self) -> Iterator[tuple[int, Tensor]]:
        return split_classes(self.weight.detach(), self.chunk_classes)


def make_head(
    name: str,
    num_classes: int,
    dim: int,
    *,
    class_sizes: Sequence[int] | None = None,
    shard: Shard | None = None,
    **options: object,
) -> MarginHead:
    """Make a head by name.

    Args:
        name: One of `HEADS`.
        num_classes: C.
        dim: D, of the features.
        class_sizes: (C,) photos per class, which "dynamic" needs.
        shard: This rank's part, if the classes are spread over ranks.
        **options: Options of `MarginHead` and of the margin: scale, margin_rad, sub_centres, ...

    Raises:
        ConfigError: There is no such head or option.
        ValueError: A value is out of its range.
    """
    require_name(name, HEADS, what="head")
    of_margin = _option_names(HEADS[name])
    of_head = [key for key in _option_names(MarginHead) if key not in _NO_OPTIONS]
    require_options(options, sorted({*of_margin, *of_head} - {"class_sizes"}), of=f"head {name!r}")
    margin_options = {key: value for key, value in options.items() if key in of_margin}
    if "class_sizes" in of_margin:
        margin_options["class_sizes"] = _checked_sizes(class_sizes or (), num_classes)
    head_options = {key: value for key, value in options.items() if key in of_head}
    build: Callable[..., MarginHead] = MarginHead
    return build(num_classes, dim, HEADS[name](**margin_options), shard=shard, **head_options)


def _checked_sizes(class_sizes: Sequence[int], num_classes: int) -> Sequence[int]:
    if len(class_sizes) not in (0, num_classes):
        raise ValueError(f"{len(class_sizes)} class sizes for {num_classes} classes")
    return class_sizes


def _option_names(kind: Callable[..., object]) -> list[str]:
    return [name for name in inspect.signature(kind).parameters if name not in ("args", "kwargs")]


def _first_weight(num_classes: int, classes: range, sub_centres: int, dim: int, seed: int) -> Tensor:
    """Draw the centres of some classes; block by block, so that each rank draws what one process would."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.empty(len(classes), sub_centres, dim)
    block = torch.empty(_INIT_ROWS, sub_centres, dim)
    for first in range(0, min(num_classes, classes.stop), _INIT_ROWS):
        block.normal_(0, _INIT_STD, generator=generator)
        start, stop = max(first, classes.start), min(first + _INIT_ROWS, classes.stop)
        if start < stop:
            weight[start - classes.start : stop - classes.start] = block[start - first : stop - first]
    return weight
