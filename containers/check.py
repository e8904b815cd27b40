"""Run inside an image: `meisho demo`, then the container's own start, asked by HTTP as its user would.

python3 check.py FOLDER    a folder that the image's user may write to
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path

ADDRESS = "http://127.0.0.1:8765"
STARTS_WITHIN_SECONDS = 300


def main(folder: Path) -> None:
    """Do it all; anything that is not as it must be ends the program with an error."""
    assert os.getuid() != 0, "the container runs as root"
    began = time.monotonic()
    small = ("--landmarks", "6", "--views", "6", "--distractors", "20")
    subprocess.run(["meisho", "demo", "--to", folder / "demo", *small], check=True)
    print(f"demo: {time.monotonic() - began:.1f} s", flush=True)
    city = folder / "demo" / "toycity"
    given = {
        "MEISHO_PHOTOS": str(city / "database"),
        "MEISHO_COLLECTION": str(folder / "photos.meisho"),
        "MEISHO_TOKENS": str(folder / "tokens"),
    }
    began = time.monotonic()
    with subprocess.Popen(["start"], env=os.environ | given, stdout=subprocess.PIPE, text=True) as served:
        try:
            token = wait_for_token(served)
            wait_until_ready(served)
            print(f"from the start to ready: {time.monotonic() - began:.1f} s", flush=True)
            ask(sorted((city / "queries").glob("*.jpg"))[0], token)
        finally:
            served.send_signal(signal.SIGTERM)
            code = served.wait(timeout=60)
    assert code == 0, f"SIGTERM ended it with {code}"
    print("ended by SIGTERM, code 0")


def wait_for_token(served: "subprocess.Popen[str]") -> str:
    """Read what it prints up to the address with the token."""
    assert served.stdout is not None
    for line in served.stdout:
        print("  " + line, end="")
        if found := re.search(r"#token=([0-9a-f]{48})", line):
            return found[1]
    raise SystemExit("it ended before it told its address")


def wait_until_ready(served: "subprocess.Popen[str]") -> None:
    """Ask as the health check does, until it is well."""
    until = time.monotonic() + STARTS_WITHIN_SECONDS
    while time.monotonic() < until and served.poll() is None:
        try:
            urllib.request.urlopen(f"{ADDRESS}/readyz", timeout=4)
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("it was never ready")


def ask(photo: Path, token: str) -> None:
    """Search with a photo: nobody gets an answer without the token, and the first answer is right."""
    assert b"meisho" in urllib.request.urlopen(f"{ADDRESS}/").read()
    edge = uuid.uuid4().hex
    head = f'--{edge}\r\nContent-Disposition: form-data; name="photo"; filename="{photo.name}"\r\n\r\n'
    body = head.encode() + photo.read_bytes() + f"\r\n--{edge}--\r\n".encode()
    request = urllib.request.Request(f"{ADDRESS}/v1/search", body, method="POST")
    request.add_header("Content-Type", f"multipart/form-data; boundary={edge}")
    try:
        urllib.request.urlopen(request)
        raise SystemExit("it answers without a token")
    except urllib.error.HTTPError as error:
        assert error.code == 401, error
    request.add_header("Authorization", f"Bearer {token}")
    began = time.monotonic()
    answers = json.load(urllib.request.urlopen(request))["answers"]
    milliseconds, first = 1000 * (time.monotonic() - began), answers[0]["id"]
    print(f"a search: {milliseconds:.0f} ms, {len(answers)} answers, first {first}")
    place = re.match(r"(.*)_\d+", photo.stem.rpartition("_q")[0])
    assert place and first.startswith(place[1]), f"{photo.name} finds {first}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
