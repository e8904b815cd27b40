"""Kinds of places: what a landmark of the drawn city can be.

A new kind is one file beside this one and one line in `KINDS`. The file has one function; its landmark gets
its shape, texture and colours from the plot's random numbers, `plot.shared()` for what its siblings have too
and `plot.own()` for what it has alone, so that all its photos show the same thing::

    def draw(plot: Plot) -> Site:
        look, own = plot.shared(), plot.own()
        stone = tile(look, materials.ashlar, choose(look, WALLS))
        tall = float(own.uniform(5, 9))
        parts = box((-1, 1), (0, 2), (0, tall), stone, stone, facade=True, roof=stone)
        stage = Stage(pivot_y=1.0, spread=3.0, front=-1e3)
        return finish(plot, parts, park(own), stage)

It stands on z = 0 around x = 0 with its front on y = 0 and faces -y. Its first 254 surfaces can count for
labels (`facade=True`). It should take about as many surfaces as a building, some 250.
"""

from meisho.tables import load_named
from meisho.toycity.plots import Plot
from meisho.toycity.site import Site

KINDS = {
    "building": "meisho.toycity.kinds.building:draw",
    "tower": "meisho.toycity.kinds.tower:draw",
    "statue": "meisho.toycity.kinds.statue:draw",
    "bridge": "meisho.toycity.kinds.bridge:draw",
    "interior": "meisho.toycity.kinds.interior:draw",
    "sign": "meisho.toycity.kinds.sign:draw",
    "painting": "meisho.toycity.kinds.painting:draw",
    "ruin": "meisho.toycity.kinds.ruin:draw",
    "rock": "meisho.toycity.kinds.rock:draw",
    "tree": "meisho.toycity.kinds.tree:draw",
    "waterfall": "meisho.toycity.kinds.waterfall:draw",
    "square": "meisho.toycity.kinds.square:draw",
}
"""Name -> function that draws a place of that kind."""


def draw_place(plot: Plot) -> Site:
    """Draw a place of the plot's kind.

    Raises:
        ConfigError: There is no such kind.
    """
    site: Site = load_named(plot.kind, KINDS, what="kind of place")(plot)
    return site
