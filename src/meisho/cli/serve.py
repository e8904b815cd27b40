"""`meisho serve`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from meisho.cli.app import app, say, strong
from meisho.cli.options import Device, Memory, as_collection
from meisho.cores import multiply_alone
from meisho.errors import needs_extra
from meisho.memory import parse_bytes
from meisho.texts import count

Names = Annotated[
    list[str] | None,
    typer.Option("--name", metavar="NAME", help="Another name of this service, as of a proxy."),
]
QueryUrls = Annotated[
    bool, typer.Option("--query-urls", help="Let photos to ask with be fetched from web addresses.")
]
UrlNetworks = Annotated[
    list[str] | None,
    typer.Option(
        "--url-network", metavar="NETWORK", help="Fetch from this private network too, as 10.1.0.0/16."
    ),
]


@app.command(short_help="Answer in a browser, and to programs, until it is stopped.")
def serve(
    collections: Annotated[
        list[Path],
        typer.Argument(
            metavar="COLLECTION",
            help="Collections made by 'meisho index'.",
            callback=lambda paths: [*map(as_collection, paths)],
        ),
    ],
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65_535, help="Port; 0: one that is free.")
    ] = 8765,
    names: Names = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="One a line: read, write or admin, then a token. Others get no answer."
        ),
    ] = None,
    photos_writable: Annotated[
        bool, typer.Option("--photos-writable", help="Let photos be added to, and deleted from, the folder.")
    ] = False,
    query_urls: QueryUrls = False,
    url_networks: UrlNetworks = None,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=256, help="Questions answered at once. Default: cores + 2."),
    ] = None,
    memory: Memory = None,
    device: Device = "auto",
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Keep collections open, and answer in a browser and to programs, until Ctrl-C.

    Example: meisho serve my.meisho --open
    """
    multiply_alone()  # before NumPy is imported
    with needs_extra("serve", "meisho serve"):
        from meisho.service.server import serve as answer
        from meisho.service.settings import Settings

    settings = Settings(
        collections=tuple(collections),
        host=host,
        port=port,
        names=tuple(names or ()),
        token_file=token_file,
        photos_writable=photos_writable,
        query_urls=query_urls,
        url_networks=tuple(url_networks or ()),
        device=device,
        num_threads=threads,
        decoding_bytes=None if memory is None else parse_bytes(memory),
    )
    answer(settings, partial(_announce, len(collections), open_browser))


def _announce(num_collections: int, open_browser: bool, address: str) -> None:
    say(f"{count(num_collections, 'collection')} at ", strong(address), "  (Ctrl-C stops)")
    if open_browser:
        import webbrowser

        webbrowser.open(address)
