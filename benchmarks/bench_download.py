"""Is every byte fetched once? A download from loopback that is interrupted at random, again and again.

    python benchmarks/bench_download.py [--megabytes 500] [--interruptions 20] [--ways cut kill] [--seed 0]

A server in this process gives a file of random bytes, and counts what it sends. At random places it either
cuts the connection, or the process that downloads is killed with SIGKILL and a new one started. Then the
file is compared byte for byte. What a killed process had not yet read of what was sent is lost: that is what
is fetched twice. The server's own send buffer is kept small, so that it counts what was sent indeed.
"""

import argparse
import hashlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

CHUNK_BYTES = 1 << 18
CLIENT = """
import sys
from pathlib import Path
from meisho.fetching.download import Expected, Patience, download
patience = Patience(first_wait_seconds=0.05)
download(Path(sys.argv[1]), [sys.argv[2]], Expected(sha256=sys.argv[3]), patience=patience)
"""


class Publisher:
    """One file over HTTP with ranges; interrupts at the given places, in the given ways."""

    def __init__(self, path: Path, interruptions: list[tuple[int, str]]) -> None:
        self.size = path.stat().st_size
        self.sent = self.requests = 0
        self.times_sent = np.zeros(self.size // CHUNK_BYTES + 1, np.int64)  # per piece of the file
        self.client: subprocess.Popen[bytes] | None = None
        self.left = interruptions
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                self.close_connection = True
                start = int(self.headers.get("Range", "bytes=0-")[6:-1])
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(publisher.size - start))
                self.send_header("Content-Range", f"bytes {start}-{publisher.size - 1}/{publisher.size}")
                self.send_header("ETag", '"v1"')
                self.end_headers()
                publisher.requests += 1
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 17)
                with path.open("rb") as file, suppress(ConnectionError):
                    file.seek(start)
                    publisher.send(self.connection, file, start)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/file"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def send(self, connection: socket.socket, file, start: int) -> None:  # noqa: ANN001
        """Send the file from its position on, up to the next interruption."""
        position = start
        while piece := file.read(CHUNK_BYTES - position % CHUNK_BYTES):
            connection.sendall(piece)
            self.times_sent[position // CHUNK_BYTES] += 1
            self.sent += len(piece)
            position += len(piece)
            if self.left and position >= self.left[0][0]:
                _, way = self.left.pop(0)
                if way == "kill" and self.client:
                    self.client.kill()
                else:
                    connection.shutdown(socket.SHUT_RDWR)
                return


def make_file(path: Path, megabytes: int, rng: np.random.Generator) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(megabytes):
            block = rng.bytes(1_000_000)
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--interruptions", type=int, default=20)
    parser.add_argument("--ways", nargs="+", choices=["cut", "kill"], default=["cut", "kill"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        published, place = Path(folder) / "published", Path(folder) / "got" / "file"
        sha256 = make_file(published, options.megabytes, rng)
        places = np.sort(rng.integers(1, options.megabytes * 1_000_000, size=options.interruptions))
        ways = rng.choice(options.ways, size=options.interruptions)
        publisher = Publisher(published, list(zip(places.tolist(), ways.tolist(), strict=True)))
        started, processes = time.monotonic(), 0
        while not place.exists():
            processes += 1
            client = subprocess.Popen([sys.executable, "-c", CLIENT, place, publisher.url, sha256])
            publisher.client = client
            if client.wait() > 0:
                sys.exit("the download failed")
        seconds = time.monotonic() - started
        same = hashlib.sha256(place.read_bytes()).hexdigest() == sha256
    cuts, kills = (int((ways == way).sum()) for way in ("cut", "kill"))
    print(f"{options.megabytes} MB, {cuts} cut connections and {kills} killed processes, seed {options.seed}")
    print(f"byte-identical: {same}; interruptions left: {len(publisher.left)}")
    print(f"{publisher.requests} requests by {processes} processes in {seconds:.1f} s")
    print(f"sent {publisher.sent:,} bytes: {publisher.sent / publisher.size:.4f} times the file")
    twice, most = (publisher.times_sent > 1).mean(), publisher.times_sent.max()
    print(f"sent more than once: {twice:.2%} of it, at most {most} times")


if __name__ == "__main__":
    main()
