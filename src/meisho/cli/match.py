"""`meisho match`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from meisho.cli.app import Device, Json, app, out, print_json, say, strong
from meisho.cli.models import LOCAL_NAMES, load_local, parse_box


@app.command()
def match(
    query: Annotated[Path, typer.Argument(help="A photo.")],
    database: Annotated[Path, typer.Argument(help="Another photo.")],
    box: Annotated[
        str | None, typer.Option(help="Part of the first photo to use: x0,y0,x1,y1 in px.")
    ] = None,
    local: Annotated[str, typer.Option(help=f"Local features: {LOCAL_NAMES}.")] = "xfeat",
    matcher: Annotated[
        str, typer.Option(help="mutual, mutual-torch (on a GPU), lighterglue (xfeat) or lightglue (aliked).")
    ] = "mutual",
    model: Annotated[str, typer.Option(help="homography, affine or fundamental.")] = "homography",
    ransac: Annotated[str, typer.Option(help="magsac, poselib or degensac.")] = "magsac",
    threshold: Annotated[
        float, typer.Option(help="Largest error of an inlier, px of the second photo.")
    ] = 8.0,
    picture: Annotated[
        Path | None, typer.Option("--out", help="Draw both photos with lines between the inliers.")
    ] = None,
    outliers: Annotated[bool, typer.Option(help="Draw the other matches too, in grey.")] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Say whether two photos show the same place, and draw why.

    Example: meisho match tower.jpg found.jpg --out matches.png
    """
    from meisho.geometry.base import load_matcher
    from meisho.geometry.ransac import RansacOptions
    from meisho.photo_pair import compare_photos
    from meisho.photos import Photo

    pair = compare_photos(
        Photo(str(query), query, parse_box(box) if box else None),
        Photo(str(database), database),
        load_local(local, device),
        load_matcher(matcher, device=device),
        RansacOptions(model=model, method=ransac, reproj_threshold_px=threshold),  # type: ignore[arg-type]
    )
    if picture:
        from meisho.web.drawing import draw_matches

        draw_matches(pair, picture, outliers=outliers)
    if as_json:
        print_json(_pair_json(pair))
    else:
        _print_pair(pair, picture)


def _pair_json(pair: Any) -> dict[str, Any]:
    from meisho.photo_pair import LEAST_INLIERS

    matrix = pair.verification.query_to_database
    return {
        "query": pair.query.id,
        "database": pair.database.id,
        "keypoints": [len(pair.query_features), len(pair.database_features)],
        "matches": len(pair.matches),
        "inliers": pair.verification.num_inliers,
        "least_inliers": LEAST_INLIERS[pair.verification.model],
        "verdict": "same place" if pair.same_place else "not verified",
        "model": pair.verification.model,
        "query_to_database": None if matrix is None else matrix.tolist(),
        "extraction_seconds": pair.extraction_seconds,
        "matching_seconds": pair.matching_seconds,
    }


def _print_pair(pair: Any, picture: Path | None) -> None:
    facts = _pair_json(pair)
    first, second = facts["keypoints"]
    say(f"{first} and {second} keypoints in {pair.extraction_seconds:.2f} s")
    say(
        f"{facts['matches']} matches, ",
        strong(f"{facts['inliers']} inliers"),
        f" of a {facts['model']} in {1000 * pair.matching_seconds:.1f} ms",
    )
    if pair.verification.query_to_database is not None:
        for row in pair.verification.query_to_database:
            out.print("  " + "  ".join(f"{number:12.6g}" for number in row), style="dim")
    say(
        "verdict: ",
        strong(facts["verdict"]),
        f" ({facts['least_inliers']} inliers or more say the same place)",
    )
    if picture:
        say("\nLook at it: ", strong(picture))
