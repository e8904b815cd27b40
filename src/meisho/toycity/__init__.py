"""A drawn city for demonstrations, tests and measurements: no real photo may be copied into the repository.

Procedural buildings of twelve style families stand in streets and are seen by a pinhole camera: from
different sides and distances, in different light and weather, cropped, hidden by trees, buses and people,
blurred, and saved as JPEG. Siblings of one family share palette, windows and roof. A photo is made in this
order:

    styles -> facades (canvas, materials, windows) -> buildings -> kinds -> views -> raster, light -> photo

On request (`Variety`) it draws other kinds of places too, each a file in `kinds`: towers, statues, bridges,
rooms and more, from solids (`shapes`, `figures`), pictures and rooms; and photos with the faults of cameras,
renderings such as paintings and old photographs, and seasons.

`build` draws a whole city to files, `labels` grades its photos, `city` reads it.
"""

from meisho.toycity.build import build_toycity
from meisho.toycity.city import (
    FacadeHomography,
    facade_homographies,
    landmark_labels,
    load_toycity,
    true_correspondences,
)
from meisho.toycity.variety import Variety

__all__ = [
    "FacadeHomography",
    "Variety",
    "build_toycity",
    "facade_homographies",
    "landmark_labels",
    "load_toycity",
    "true_correspondences",
]
