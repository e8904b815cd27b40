"""Sent: texts that a browser saves as a file, and how a description says that a route answers with one."""

import json
from typing import Any

from fastapi import Response

Answers = dict[int | str, dict[str, Any]]
"""What a route answers by status, as FastAPI takes it."""

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.-_"


def describe_files(what: str, *media_types: str) -> Answers:
    """Describe answers that are no JSON of a model."""
    return {200: {"content": {media_type: {} for media_type in media_types}, "description": what}}


def send_file(text: str | bytes, media_type: str, name: str) -> Response:
    """Return a text as a file to be saved; nothing in it runs in the page."""
    plain = "".join(letter if letter.lower() in _LETTERS else "_" for letter in name)
    headers = {"Content-Disposition": f'attachment; filename="{plain}"'}
    return Response(text, media_type=media_type, headers=headers)


def send_json(value: object, name: str) -> Response:
    """Return a value of JSON as a file to be saved."""
    return send_file(json.dumps(value, ensure_ascii=False, indent=1), "application/json", name)
