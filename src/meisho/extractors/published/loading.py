"""Loading a published checkpoint by its specification; torch is imported when one is loaded."""

from pathlib import Path

from meisho.errors import ConfigError, InputError
from meisho.extractors.base import GlobalExtractor
from meisho.extractors.machine import require_torch


def is_published(path: Path) -> bool:
    """Say whether it may be a published checkpoint: a file, or a folder with config.json."""
    return (path.is_file() and path.suffix != ".onnx") or (path / "config.json").is_file()


def load_file(path: str, *, device: str = "auto", **options: object) -> GlobalExtractor:
    """Load `--model PATH`, a file or a folder; errors are those of `load_published`.

    Raises:
        ConfigError: `weights` are given too.
    """
    if "weights" in options:
        raise ConfigError(f"weights={options['weights']!r}: {path} holds its weights itself; leave them out")
    return load_published("", device=device, weights=path, **options)


def load_published(rest: str = "", *, device: str = "auto", **options: object) -> GlobalExtractor:
    """Load a published checkpoint; `options` are those of `PublishedOptions`, and replace the authors'.

    Args:
        rest: "" finds the layout by itself; else one of `LAYOUTS`, and after a colon which whitening of the
            file comes at the end, or "none": "cirtorch:none".
        device: "auto", "cpu" or "cuda".
        **options: `weights` is the file, or a folder with config.json.

    Raises:
        InputError: No file is given.
        ConfigError: An option is not known or wrong, or there is no such layout or whitening.
        WeightsError: The file is of no known layout, or cannot be used.
        MissingDependencyError: torch or timm is not installed.
    """
    weights = options.get("weights")
    if not isinstance(weights, str) or weights in ("", "hub"):
        raise InputError(f"model 'published:{rest}': say which file, by --weights FILE")
    require_torch(f"the published model {weights}")
    from meisho.extractors.published.gem import load_torch

    return load_torch(rest, device=device, **options)
