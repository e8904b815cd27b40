"""Global descriptors of a model as its authors published it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from meisho.errors import ConfigError
from meisho.extractors.devices import check_precision, choose_device
from meisho.extractors.published.base import FinalWhitening, Published, PublishedFile, recognise
from meisho.extractors.published.files import read_published
from meisho.extractors.published.network import PublishedNetwork, build_published
from meisho.extractors.published.options import PublishedOptions
from meisho.extractors.timm_gem import TimmGeM

NO_WHITENING = "none"


class PublishedGeM(TimmGeM):
    """A global extractor of a published checkpoint; see `extractors.base.GlobalExtractor`.

    Attributes:
        remarks: What of the file is not used, in words.
        backbone: timm's name of its backbone.
    """

    kind = "published"

    def __init__(
        self, name: str, network: PublishedNetwork, options: PublishedOptions, *, device: str = "auto"
    ) -> None:
        super().__init__(name, network, options, device=device)
        self.image_options = replace(self.image_options, crops=options.crops)
        if self.whitening is None and network.whitening is not None:
            self.dim = len(network.whitening.projection)
        self.remarks: tuple[str, ...] = ()
        self.backbone = ""


def load_torch(rest: str, *, device: str = "auto", **options: Any) -> PublishedGeM:
    """Load a published checkpoint; see `loading.load_published`."""
    asked, _, choice = rest.partition(":")
    layout, file, published = recognise(read_published(Path(options["weights"])), asked)
    resolved = PublishedOptions.from_mapping({**published.options, **options})
    check_precision(resolved.precision, choose_device(device))
    chosen, whitening = _choose_whitening(file, published, choice, several=len(resolved.scales) > 1)
    network = build_published(published, resolved, whitening)
    name = f"{layout}:{chosen}" if chosen else layout
    extractor = PublishedGeM(name, network, resolved, device=device)
    extractor.remarks, extractor.backbone = _remarks(file, published), published.backbone
    return extractor


def _choose_whitening(
    file: PublishedFile, published: Published, choice: str, *, several: bool
) -> tuple[str, FinalWhitening | None]:
    held = published.whitenings
    chosen = choice or next(iter(held), "")
    if chosen in ("", NO_WHITENING):
        return chosen, None
    if chosen not in held:
        known = ", ".join([*held, NO_WHITENING])
        raise ConfigError(f"{file.path}: holds no whitening {chosen!r:.80}; choose one of {known}")
    return chosen, held[chosen][several]


def _remarks(file: PublishedFile, published: Published) -> tuple[str, ...]:
    names = (*file.left_out, *published.left_out)
    if not names:
        return ()
    if len(names) == 1:
        return (f"{file.path}: one tensor of the file is not used: {names[0]:.80}",)
    kinds = sorted({name.partition(".")[0] for name in names})
    listed = ", ".join(f"{kind:.40}" for kind in kinds[:5]) + (" and more" if len(kinds) > 5 else "")
    return (f"{file.path}: {len(names)} tensors of the file are not used: {listed}",)
