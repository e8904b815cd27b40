"""Grids: several chains from one text, and those that a sweep tries when none is named."""

import itertools
import re

DEFAULT_CHAINS = (
    "average-qe",
    "alpha-qe",
    "dba",
    "dba,alpha-qe",
    "discriminative-qe",
    "k-reciprocal",
    "diffusion",
    "offline-diffusion",
    "superglobal",
    "dba,superglobal",
    "alpha-qe,superglobal",
)
"""What a sweep tries on global descriptors: each reranker as it comes, and chains of them."""

DEFAULT_LOCAL_CHAINS = (
    "geometric",
    "asmk",
    "dba,alpha-qe,geometric",
    "geometric,alpha-qe",
    "superglobal,geometric",
)
"""What it tries beside that where there are local features."""

_VALUE = re.compile(r"(=[^:,]*)")


def expand_grid(text: str) -> list[str]:
    """Write out "alpha-qe:k=5|10:alpha=1|3" as one chain for each choice of values, the last value fastest.

    A text without "|" is one chain.
    """
    parts = _VALUE.split(text)
    choices = [_choices(part) for part in parts]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _choices(part: str) -> list[str]:
    return [f"={value}" for value in part[1:].split("|")] if part.startswith("=") else [part]
