"""Papers: whose whole evaluation `meisho evaluate --as NAME` repeats, with the authors' code as the source.

None of the official weight files could be had when this was written: what is proved is how photos become what
the network sees, and, with drawn weights, the network behind it; no published figure was repeated here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from meisho.errors import InputError
from meisho.evaluate.settings import EvaluationSettings
from meisho.photos import Box, Photo
from meisho.tables import require_name

_UNTOUCHED = {"max_side_px": 65_535, "multiple_px": 1, "enlarge": False}  # no JPEG is larger
_SMALLER = 2**-0.5
_SUPERGLOBAL = ({"name": "superglobal", "first": 400, "k": 9, "beta": 0.15},)


@dataclass(frozen=True)
class Paper:
    """How one paper evaluates.

    Attributes:
        cites: Authors, year and number on arXiv.
        source: Repository and commit of the authors' code, and the files that say it.
        layout: That of the checkpoint, as after "published:"; with the whitening that comes last.
        options: Those of the model that are the paper's; pooling and power are the checkpoint's own.
        backbone: timm's name of what the checkpoint must hold; "" takes any.
        whole_boxes: Whether the edges of a query's box lose their fractions, as `int()` takes them off; else
            they are rounded.
        rerank: The chain, as settings have it.
    """

    cites: str
    source: str
    layout: str
    options: Mapping[str, object] = field(default_factory=dict)
    backbone: str = ""
    whole_boxes: bool = False
    rerank: tuple[dict[str, object], ...] = ()

    @property
    def sentence(self) -> str:
        """The paper and its code, as a report says them."""
        return f"{self.cites}; {self.source}"


# crop, then `imresize` by the photo's own factor, which never enlarges (datasets/genericdataset.py,
# datahelpers.py); 1024 px and scales: README, "Testing our pretrained networks"; their mean has GeM's power
# (examples/test.py, `extract_ms`), and the whitening learned for it comes last
_CIRTORCH = Paper(
    "Radenović et al. 2018, arXiv:1711.02512",
    "filipradenovic/cnnimageretrieval-pytorch at 1e66a41, examples/test.py",
    "cirtorch:retrieval-SfM-120k",
    {
        **{"max_side_px": 1024, "multiple_px": 1, "enlarge": False, "crops": "photo"},
        **{"interpolation": "lanczos", "scales": (1.0, _SMALLER, 0.5)},
    },
)
# networks with a linear layer after the pooling: other scales, a plain mean, and no whitening after it
_CIRTORCH_LAYER = replace(
    _CIRTORCH,
    source="filipradenovic/cnnimageretrieval-pytorch at 1e66a41, examples/test_e2e.py",
    layout="cirtorch:none",
    options={**_CIRTORCH.options, "scales": (1.0, 2**0.5, _SMALLER)},
)
# photos and crops as they are (datasets/generic.py, `ImageListROIs`), one scale, PCA to the power .25: README
_AP_GEM = Paper(
    "Revaud et al. 2019, arXiv:1906.07589",
    "naver/deep-image-retrieval at 610247f, dirtorch/test_dir.py",
    "dirtorch:Landmarks_clean",
    {**_UNTOUCHED, "scales": (1.0,)},
)
# scales of global features as commented in tools/extractor.py, those of the paper as its README says, which
# has queries cropped as DOLG's are; the mean of L2-normalised descriptors
_DELG = Paper(
    "Cao et al. 2020, arXiv:2001.05027",
    "feymanpriv/DELG at 3557169, tools/extractor.py",
    "delg-pytorch",
    {**_UNTOUCHED, "scales": (0.7071, 1.0, 1.4142), "rescaling": "authors"},
    whole_boxes=True,
)
# `SCALE_LIST`, the crop by `int`, the mean of L2-normalised descriptors; process.py resizes
_DOLG = Paper(
    "Yang et al. 2021, arXiv:2108.02927",
    "feymanpriv/DOLG at 63b117d, evaler/infer.py",
    "dolg",
    {**_UNTOUCHED, "scales": (0.3535, 0.5, 0.7071, 1.0, 1.4142), "rescaling": "authors"},
    whole_boxes=True,
)
# the global part alone; `SCALE_LIST` is in core/config.py, the mean in test/test_utils.py
_CVNET = Paper(
    "Lee et al. 2022, arXiv:2204.01458, global descriptors without reranking",
    "sungonce/CVNet at 5f5bf24, test/dataset.py",
    "cvnet",
    {**_UNTOUCHED, "scales": (0.7071, 1.0, 1.4142), "rescaling": "authors"},
    whole_boxes=True,
)
# photos by test/dataset.py at one scale, the others in model/resnet.py, their maximum in sgem.py; the chain
# is MDescAug.py and RerankwMDA.py
_SUPERGLOBAL_PAPER = Paper(
    "Shao et al. 2023, arXiv:2308.06954",
    "ShihaoShao-GH/SuperGlobal at 8694696, test/test_model.py",
    "superglobal",
    {**_UNTOUCHED, "pooling": "superglobal", "p": 4.6, "scales": (0.7071, 1.0, 1.4142)},
    whole_boxes=True,
    rerank=_SUPERGLOBAL,
)


def _of(paper: Paper, depth: int, *, rerank: bool = True) -> Paper:
    return replace(paper, backbone=f"resnet{depth}", rerank=paper.rerank if rerank else ())


PAPERS: dict[str, Paper] = {
    "cirtorch-ms": _CIRTORCH,
    "cirtorch-layer-ms": _CIRTORCH_LAYER,
    "ap-gem": _AP_GEM,
    "delg-r50": _of(_DELG, 50),
    "delg-r101": _of(_DELG, 101),
    "dolg-r50": _of(_DOLG, 50),
    "dolg-r101": _of(_DOLG, 101),
    "cvnet-r50": _of(_CVNET, 50),
    "cvnet-r101": _of(_CVNET, 101),
    "superglobal-r50": _of(_SUPERGLOBAL_PAPER, 50),
    "superglobal-r50-first": _of(_SUPERGLOBAL_PAPER, 50, rerank=False),
    "superglobal-r101": _of(_SUPERGLOBAL_PAPER, 101),
    "superglobal-r101-first": _of(_SUPERGLOBAL_PAPER, 101, rerank=False),
}
"""Name of a setting -> what it is; "-first" is the first of two stages, before reranking."""


def find_paper(name: str) -> Paper:
    """Return a paper by its name.

    Raises:
        ConfigError: There is none; the message names all.
    """
    require_name(name, PAPERS, what="setting of a paper")
    return PAPERS[name]


def follow_paper(settings: EvaluationSettings) -> EvaluationSettings:
    """Return settings with all that their paper says; settings without a paper stay as they are.

    Raises:
        InputError: There is no such paper, no checkpoint is given, or a setting contradicts the paper.
    """
    # what of the options only the checkpoint can tell is looked at by `check_model`
    if settings.paper is None:
        return settings
    paper, name = find_paper(settings.paper), f"--as {settings.paper}"
    _refuse_contradictions(settings.options, paper.options, name)
    if settings.rerank not in ((), paper.rerank) or settings.sweep or settings.local:
        chain = "--rerank superglobal" if paper.rerank else "no reranking"
        raise InputError(f"{name}: the paper's own is {chain}; leave --rerank, --sweep and --local out")
    options = {**paper.options, "weights": _weights_of(settings, paper, name)}
    return replace(settings, model=f"published:{paper.layout}", options=options, rerank=paper.rerank)


def check_model(
    settings: EvaluationSettings, given: Mapping[str, object], backbone: str, options: Mapping[str, object]
) -> None:
    """Refuse a checkpoint that is not the paper's, and options that the paper's model has otherwise.

    Args:
        settings: What `follow_paper` returned.
        given: The options that were asked for, before that.
        backbone: What the checkpoint holds, timm's name.
        options: Those of the model, all of them.

    Raises:
        InputError: It is so.
    """
    if settings.paper is None:
        return
    name, wanted = f"--as {settings.paper}", find_paper(settings.paper).backbone
    if wanted not in ("", backbone):
        raise InputError(
            f"{name}: {settings.options['weights']} holds a {backbone}, the paper's is a {wanted}"
        )
    _refuse_contradictions(given, options, name)
    if more := sorted(given.keys() - options.keys()):
        raise InputError(f"{name}: the paper's setting has no {more[0]!r:.80}; leave it out")


def _refuse_contradictions(given: Mapping[str, object], said: Mapping[str, object], name: str) -> None:
    for option, value in given.items():
        if option in said and option != "weights" and _plain(value) != _plain(said[option]):
            raise InputError(
                f"{name}: {option} is {_plain(said[option])!r} there, not {_plain(value)!r:.80}; "
                "leave it out, or evaluate without --as"
            )


def cut_boxes(photos: Iterable[Photo]) -> tuple[Photo, ...]:
    """Return photos whose boxes have lost the fractions of their edges, as `int()` takes them off."""
    return tuple(photo if photo.box is None else replace(photo, box=_cut(photo.box)) for photo in photos)


def _cut(box: Box) -> Box:
    x0, y0 = int(box.x0), int(box.y0)
    return Box(x0, y0, max(int(box.x1), x0 + 1), max(int(box.y1), y0 + 1))


def _weights_of(settings: EvaluationSettings, paper: Paper, name: str) -> str:
    """Return where the checkpoint is: the model itself, or the weights of "published:LAYOUT"."""
    weights, model = settings.options.get("weights"), settings.model
    if Path(model).exists() and weights is None:
        return str(Path(model).absolute())
    named = ("default", f"published:{paper.layout.partition(':')[0]}", f"published:{paper.layout}")
    if model in named and isinstance(weights, str):
        return weights
    raise InputError(
        f"{name}: needs the checkpoint as its authors published it: --model FILE"
        + ("" if model == "default" else f"; {model!r:.80} is none")
    )


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
