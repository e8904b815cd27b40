"""The description of the API is kept as a file, so that a change of it is seen; and it describes what is."""

import json
import os
from pathlib import Path

from meisho.service.app import describe_api

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"


def test_the_description_is_the_one_that_is_kept():
    """Run with MEISHO_WRITE_OPENAPI=1 to keep the new one."""
    text = json.dumps(describe_api(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if os.environ.get("MEISHO_WRITE_OPENAPI"):
        FILE.write_text(text, "utf-8")
    assert FILE.read_text("utf-8") == text


def test_every_reference_leads_somewhere():
    described = describe_api()
    assert described["openapi"].startswith("3.1")

    def references(value):
        if isinstance(value, dict):
            yield from [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            value = list(value.values())
        for part in value if isinstance(value, list) else ():
            yield from references(part)

    for reference in references(described):
        place = described
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_every_route_says_what_it_does_and_answers():
    for path, methods in describe_api()["paths"].items():
        for method, route in methods.items():
            assert route["description"].endswith("."), (method, path)
            assert route["responses"].keys() >= {"default"}, (method, path)


def test_names_of_operations_are_different():
    names = [
        route["operationId"] for methods in describe_api()["paths"].values() for route in methods.values()
    ]
    assert len(names) == len(set(names))
