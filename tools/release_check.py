"""Walk the check list of a release, docs/RELEASING.md, as far as a program can; 1 if a step fails.

python tools/release_check.py             all steps, some minutes: builds, and installs anew
python tools/release_check.py --quick     without what is downloaded
python tools/release_check.py wheel demo  some of them
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MOST_WHEEL_BYTES = 3_000_000
PLACEHOLDER = "OWNER/meisho"
SMALL = ("--landmarks", "6", "--views", "6", "--distractors", "20")


class Failure(Exception):
    """A step that failed, and why."""


class Walk:
    """What the steps share: a folder that is deleted at the end, and what was built into it.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.version = re.findall(r'^__version__ = "(.*)"$', read("src/meisho/__init__.py"), re.MULTILINE)[0]

    @property
    def wheel(self) -> Path:
        """The wheel, built when it is first asked for, from what git knows of the tree."""
        return self._built("*.whl")

    @property
    def sdist(self) -> Path:
        """The source distribution, likewise."""
        return self._built("*.tar.gz")

    def _built(self, pattern: str) -> Path:
        dist = self.folder / "dist"
        if not dist.exists():
            tree = self.folder / "tree"
            names = call("git", "ls-files", "-z").rstrip("\0").split("\0")
            for name in names:
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, tree / name)
            call(sys.executable, "-m", "build", "--outdir", dist, tree)
        (found,) = dist.glob(pattern)
        return found


def read(name: str) -> str:
    """Return a file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def call(*words: str | Path, cwd: Path = ROOT, sources: Path | None = None) -> str:
    """Run a command; return what it printed. Python finds packages below `sources` first.

    Raises:
        Failure: It ends with another code than 0.
    """
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    kept |= {} if sources is None else {"PYTHONPATH": str(sources)}
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    try:
        done = subprocess.run([str(w) for w in words], cwd=cwd, env=kept, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise Failure(f"{words[0]} is not installed: pip install 'meisho[release]'") from error
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()[-15:]
        raise Failure("\n    ".join([f"{' '.join(map(str, words))}: exit {done.returncode}", *said]))
    return done.stdout


def check_tree(walk: Walk) -> str:
    """Nothing is changed that is not committed."""
    if changed := call("git", "status", "--porcelain").splitlines():
        raise Failure(f"{len(changed)} files are not committed, the first: {changed[0]}")
    return call("git", "log", "-1", "--format=%h %s").strip()


def check_version(walk: Walk) -> str:
    """The version agrees wherever it is repeated, and the changelog says what it brings."""
    for name, pattern in (
        ("CITATION.cff", r"^version: (.*)$"),
        ("docs/openapi.json", r'^  "version": "(.*)"$'),
    ):
        (found,) = re.findall(pattern, read(name), re.MULTILINE)
        if found != walk.version:
            raise Failure(f"{name} says {found}, src/meisho/__init__.py {walk.version}")
    head = re.findall(r"^## \[(.*?)\]", read("CHANGELOG.md"), re.MULTILINE)[0]
    is_candidate = re.search(r"[a-z]", walk.version)
    if head != walk.version and not (is_candidate and head == "Unreleased"):
        raise Failure(f"CHANGELOG.md begins with [{head}]; name that section [{walk.version}] - DATE")
    return f"{walk.version}; the changelog begins with [{head}]"


def check_badges(walk: Walk) -> str:
    """Badges of the notebooks, and the line that clones, lead to the repository, not to its placeholder."""
    notebooks = [f"docs/chapter/{path.name}" for path in sorted((ROOT / "docs/chapter").glob("*.ipynb"))]
    names = ["docs/chapter/course.py", *notebooks, "docs/install.md", "docs/ja/install.md"]
    if found := [name for name in names if PLACEHOLDER in read(name)]:
        raise Failure(
            f"{len(found)} files name {PLACEHOLDER}, the first: {found[0]}; docs/RELEASING.md tells how"
        )
    return f"{len(notebooks)} notebooks"


def check_wheel(walk: Walk) -> str:
    """The wheel holds every file of the package and the recipes, and nothing else: no test, no data."""
    tracked = call("git", "ls-files", "src/meisho", "recipes").splitlines()
    expected = {
        name.removeprefix("src/") if name.startswith("src/") else f"meisho/{name}" for name in tracked
    }
    with zipfile.ZipFile(walk.wheel) as archive:
        names = archive.namelist()
    inside = {name for name in names if ".dist-info/" not in name}
    if inside != expected:
        raise Failure(f"missing: {sorted(expected - inside)[:5]}; too much: {sorted(inside - expected)[:5]}")
    beside = {name.partition("/")[2] for name in names if ".dist-info/" in name}
    if absent := {"licenses/LICENSE", "licenses/NOTICE", "licenses/THIRD_PARTY.md"} - beside:
        raise Failure(f"without {sorted(absent)}")
    size = walk.wheel.stat().st_size
    if size > MOST_WHEEL_BYTES:
        raise Failure(f"{size / 1e6:.1f} MB, more than {MOST_WHEEL_BYTES / 1e6:g}")
    call("check-wheel-contents", walk.wheel)
    return f"{walk.wheel.name}, {size / 1e6:.2f} MB, {len(inside)} files"


def check_sdist(walk: Walk) -> str:
    """The source distribution brings what belongs to it, and no test."""
    names = call("tar", "tzf", walk.sdist).splitlines()
    inside = {name.partition("/")[2] for name in names}
    wanted = {
        "CHANGELOG.md",
        "CITATION.cff",
        "LICENSE",
        "NOTICE",
        "README.md",
        "README.ja.md",
        "THIRD_PARTY.md",
    }
    if absent := wanted - inside:
        raise Failure(f"without {sorted(absent)}")
    if tests := [name for name in inside if name.startswith(("tests", "benchmarks", "docs"))]:
        raise Failure(f"with {tests[:3]}")
    return f"{walk.sdist.name}, {walk.sdist.stat().st_size / 1e6:.2f} MB"


def check_images(walk: Walk) -> str:
    """The linter finds nothing in the Dockerfiles."""
    call("hadolint", "Dockerfile", "Dockerfile.gpu")
    return "Dockerfile, Dockerfile.gpu"


def check_upgrade(walk: Walk) -> str:
    """Collections of every earlier format are opened, searched and brought up to date."""
    tests = ("tests/test_old_collections.py", "tests/test_release.py", "tests/test_containers.py")
    done = call(sys.executable, "-m", "pytest", "-q", "-m", "not slow", *tests, sources=ROOT / "src")
    return done.strip().splitlines()[-1] if "passed" in done else "passed"


def check_citation(walk: Walk) -> str:
    """CITATION.cff is valid by the schema of the format."""
    return call("uvx", "cffconvert", "--validate", "-i", "CITATION.cff").strip()


def check_description(walk: Walk) -> str:
    """The package index will show the description."""
    call("uvx", "twine", "check", "--strict", walk.wheel, walk.sdist)
    return "twine check --strict"


def check_demo(walk: Walk) -> str:
    """The wheel in a new environment: installed, drawn, indexed, searched, scored."""
    environment, began = walk.folder / "env", time.monotonic()
    call(sys.executable, "-m", "venv", environment)
    programs = environment / ("Scripts" if os.name == "nt" else "bin")
    call(programs / "python", "-m", "pip", "install", "--quiet", f"{walk.wheel}[serve]", cwd=walk.folder)
    installed = time.monotonic()
    if (told := call(programs / "meisho", "--version").strip()) != f"meisho {walk.version}":
        raise Failure(f"meisho --version says {told}")
    call(programs / "meisho", "demo", "--to", walk.folder / "demo", *SMALL, cwd=walk.folder)
    call(programs / "python", "-c", "import meisho.service.server", cwd=walk.folder)
    if not (walk.folder / "demo" / "report.html").is_file():
        raise Failure("meisho demo wrote no report.html")
    return f"installed in {installed - began:.0f} s, meisho demo in {time.monotonic() - installed:.0f} s"


def check_uvx(walk: Walk) -> str:
    """Uvx runs it without installing."""
    return _check_told(call("uvx", "--from", walk.wheel, "meisho", "--version", cwd=walk.folder), walk)


def check_pipx(walk: Walk) -> str:
    """Pipx runs it without installing."""
    return _check_told(
        call("pipx", "run", "--spec", walk.wheel, "meisho", "--version", cwd=walk.folder), walk
    )


def _check_told(told: str, walk: Walk) -> str:
    if told.strip() != f"meisho {walk.version}":
        raise Failure(f"it says {told.strip()!r}")
    return told.strip()


STEPS: dict[str, Callable[[Walk], str]] = {
    "tree": check_tree,
    "version": check_version,
    "badges": check_badges,
    "wheel": check_wheel,
    "sdist": check_sdist,
    "images": check_images,
    "upgrade": check_upgrade,
    "citation": check_citation,
    "description": check_description,
    "demo": check_demo,
    "uvx": check_uvx,
    "pipx": check_pipx,
}
DOWNLOADS = ("citation", "description", "demo", "uvx", "pipx")


def main() -> int:
    """Walk the steps asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of: {', '.join(STEPS)}")
    parser.add_argument("--quick", action="store_true", help="leave out what is downloaded")
    given = parser.parse_args()
    if unknown := {*given.steps} - {*STEPS}:
        parser.error(f"no step {', '.join(sorted(unknown))}; there are: {', '.join(STEPS)}")
    names = given.steps or [name for name in STEPS if not (given.quick and name in DOWNLOADS)]
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        walk = Walk(Path(folder))
        for name in names:
            began = time.monotonic()
            try:
                mark, told = "✓", STEPS[name](walk)
            except Failure as failure:
                mark, told = "✗", str(failure)
                failed.append(name)
            print(f"{mark} {name:12} {time.monotonic() - began:6.1f} s  {told}", flush=True)
    if failed:
        print(f"\nnot ready: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
