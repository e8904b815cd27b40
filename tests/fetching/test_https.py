import hashlib
import shutil
import ssl
import subprocess

import pytest

from meisho.fetching.download import Expected, download
from meisho.fetching.source import SourceFault

from .server import Answer, serving


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed, which makes a certificate for loopback")
    folder = tmp_path_factory.mktemp("certificate")
    key, file = folder / "key.pem", folder / "cert.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", file],
        check=True,
        capture_output=True,
    )
    return file, key


@pytest.fixture
def secure(server, certificate):
    with serving() as running:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        running._http.socket = context.wrap_socket(running._http.socket, server_side=True)
        running.url = running.url.replace("http:", "https:")
        yield running


def test_a_file_comes_over_https(secure, certificate, quick, tmp_path, data, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    url = secure.put("f", data, Answer(drop_after=100_000))
    download(tmp_path / "f", [url], Expected(sha256=hashlib.sha256(data).hexdigest()), patience=quick)
    assert (tmp_path / "f").read_bytes() == data


def test_a_certificate_that_nobody_signed_is_refused_at_once(secure, quick, tmp_path, data):
    url = secure.put("f", data)
    with pytest.raises(SourceFault, match=r"certificate is not valid"):
        download(tmp_path / "f", [url], Expected(), patience=quick)
    assert secure.requests == []


def test_https_never_falls_back_to_http(server, secure, certificate, quick, tmp_path, data, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    plain = server.put("plain", data)
    url = secure.put("f", b"", Answer(status=302, headers={"Location": plain}))
    with pytest.raises(SourceFault, match=r"redirects from HTTPS to .*not encrypted"):
        download(tmp_path / "f", [url], Expected(), patience=quick)
    assert server.requests == []
