"""Print what a package's pyproject.toml asks for, with some of its extras, one requirement a line."""

import re
import sys
import tomllib
from pathlib import Path


def requirements(extras: list[str]) -> list[str]:
    """Return the dependencies and those of the extras; an extra may name others of the same package.

    Raises:
        SystemExit: An extra is not known.
    """
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    known = project["optional-dependencies"]
    found, waiting, seen = list(project["dependencies"]), list(extras), set()
    while waiting:
        extra = waiting.pop(0)
        if extra in seen:
            continue
        seen.add(extra)
        if extra not in known:
            raise SystemExit(f"no extra {extra!r} in pyproject.toml; there are: {', '.join(known)}")
        for requirement in known[extra]:
            own = re.fullmatch(rf"{project['name']}\[([^]]+)\]", requirement)
            if own:
                waiting += own[1].split(",")
            else:
                found.append(requirement)
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    print("\n".join(requirements([word for word in sys.argv[1].split(",") if word])))
