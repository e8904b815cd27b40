"""`meisho match`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from meisho.cli.app import app, out, print_json, say, strong
from meisho.cli.checks import check_number, check_query
from meisho.cli.options import LOCAL_NAMES, Box, Device, Json, query_photo
from meisho.outputs import DRAWING, check_output, model_files
from meisho.texts import count

if TYPE_CHECKING:  # a command imports what it needs when it is called
    from meisho.photo_pair import PhotoPair

GeometryName = Literal["homography", "affine", "fundamental"]
RansacName = Literal["magsac", "poselib", "degensac", "torch"]
Threshold = Annotated[
    float,
    typer.Option(
        metavar="PX",
        min=0.01,
        max=1000,
        help="Largest error of an inlier, px of the second photo.",
        callback=check_number,
    ),
]
_GEOMETRIES = {
    "homography": "a homography",
    "affine": "an affine map",
    "fundamental": "a fundamental matrix",
}


@app.command()
def match(
    query: Annotated[Path, typer.Argument(metavar="QUERY", help="A photo.")],
    database: Annotated[Path, typer.Argument(metavar="DATABASE", help="Another photo.")],
    box: Box = None,
    local: Annotated[str, typer.Option(metavar="NAME", help=f"Local features: {LOCAL_NAMES}.")] = "sift",
    matcher: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="mutual, mutual-torch (on a GPU), lighterglue (xfeat) or lightglue (aliked)."
        ),
    ] = "mutual",
    geometry: Annotated[GeometryName, typer.Option(help="What the matches must agree on.")] = "homography",
    ransac: Annotated[RansacName, typer.Option(help="How geometry is estimated; torch: affine.")] = "magsac",
    threshold: Threshold = 8.0,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Draw both photos with lines between the inliers: .png, .jpg, .webp."
        ),
    ] = None,
    outliers: Annotated[
        bool, typer.Option("--outliers", help="Draw the other matches too, in grey.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Say whether two photos show the same place, and draw why.

    Example: meisho match tower.jpg found.jpg --to matches.png
    """
    from meisho.extractors.local_base import load_local_extractor
    from meisho.geometry.base import load_matcher
    from meisho.geometry.ransac import RansacOptions
    from meisho.photo_pair import compare_photos

    photos = query_photo(query, box), query_photo(database, None)
    for file in (query, database):
        check_query(file)
    if to:
        check_output(to, DRAWING, inputs=[query, database, *model_files(local)])
    pair = compare_photos(
        *photos,
        load_local_extractor(local, device=device),
        load_matcher(matcher, device=device),
        RansacOptions(model=geometry, method=ransac, reproj_threshold_px=threshold),
    )
    if to:
        from meisho.web.drawing import draw_matches

        draw_matches(pair, to, outliers=outliers)
    if as_json:
        print_json(_pair_json(pair))
    else:
        _print_pair(pair, to)


def _pair_json(pair: "PhotoPair") -> dict[str, object]:
    from meisho.certainty import LEAST_INLIERS

    matrix = pair.verification.query_to_database
    return {
        "query": pair.query.id,
        "database": pair.database.id,
        "keypoints": [len(pair.query_features), len(pair.database_features)],
        "matches": len(pair.matches),
        "inliers": pair.verification.num_inliers,
        "least_inliers": LEAST_INLIERS[pair.verification.model],
        "verdict": _verdict(pair),
        "geometry": pair.verification.model,
        "query_to_database": None if matrix is None else matrix.tolist(),
        "extraction_seconds": pair.extraction_seconds,
        "matching_seconds": pair.matching_seconds,
    }


def _verdict(pair: "PhotoPair") -> str:
    return "same place" if pair.same_place else "not verified"


def _print_pair(pair: "PhotoPair", picture: Path | None) -> None:
    from meisho.certainty import LEAST_INLIERS

    model, matrix = pair.verification.model, pair.verification.query_to_database
    say(
        f"{len(pair.query_features):,} and {len(pair.database_features):,} keypoints "
        f"in {pair.extraction_seconds:.2f} s"
    )
    say(
        f"{count(len(pair.matches), 'match')}, ",
        strong(count(pair.verification.num_inliers, "inlier")),
        f" that agree on {_GEOMETRIES[model]}, in {1000 * pair.matching_seconds:.1f} ms",
    )
    for row in () if matrix is None else matrix.tolist():
        out.print("  " + "  ".join(f"{number:12.6g}" for number in row), style="dim")
    least = LEAST_INLIERS[model]
    say("verdict: ", strong(_verdict(pair)), f' (it takes {least} inliers to say "same place")')
    if not pair.same_place and model == "fundamental":
        out.print(
            "A fundamental matrix agrees with many matches by chance, so it needs more of them than a "
            "homography (15); of a flat front, --geometry homography says more",
            style="dim",
        )
    if picture:
        say("\nLook at it: ", strong(picture))
