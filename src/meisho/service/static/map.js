/** A map without tiles: where the collection's photos were taken, and a circle that chooses among them. */

import { el, svg } from "./dom.js";
import { number, t } from "./texts.js";

const [WIDTH, HEIGHT, EDGE] = [300, 220, 14];
const KM_PER_DEGREE = 111.2;
const RADII = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]; // km
const WAYS = { ArrowLeft: [-8, 0], ArrowRight: [8, 0], ArrowUp: [0, -8], ArrowDown: [0, 8] };

/** Degrees to px and back, true to scale in the middle. */
function projection(points) {
  const [lats, lons] = [points.map(([lat]) => lat), points.map(([, lon]) => lon)];
  const [south, north, west, east] = [Math.min(...lats), Math.max(...lats), Math.min(...lons), Math.max(...lons)];
  const [lat0, lon0] = [(south + north) / 2, (west + east) / 2];
  const narrow = Math.max(0.01, Math.cos((lat0 * Math.PI) / 180));
  const scale = Math.min((WIDTH - 2 * EDGE) / Math.max((east - west) * narrow, 1e-4), (HEIGHT - 2 * EDGE) / Math.max(north - south, 1e-4));
  return {
    px: ([lat, lon]) => [WIDTH / 2 + (lon - lon0) * narrow * scale, HEIGHT / 2 - (lat - lat0) * scale],
    degrees: ([x, y]) => [lat0 - (y - HEIGHT / 2) / scale, lon0 + (x - WIDTH / 2) / (narrow * scale)],
    pxPerKm: scale / KM_PER_DEGREE,
  };
}

/** The map as an element; `changed` gets "lat,lon,km" on release, or "". */
export function mapOf(points, gps, changed) {
  const { px, degrees, pxPerKm } = projection(points);
  let [lat, lon, km] = gps ? gps.split(",").map(Number) : [];
  const circle = svg("circle", { class: "chosen" });
  const fitting = RADII.find((radius) => radius * pxPerKm > 20) || RADII.at(-1);
  const said = el("output", {});
  const radius = el("input", { type: "range", min: 0, max: RADII.length - 1, "aria-label": t("radius"), on: { input: () => (km = RADII[radius.value], draw()), change: () => tell() } });
  const dots = points.map((point) => {
    const [cx, cy] = px(point);
    return svg("circle", { cx, cy, r: 1.8 + Math.min(4, Math.log2(point[2] || 1)) });
  });
  const chart = svg("svg", { class: "map", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, tabindex: 0, role: "group", "aria-label": t("map"), on: { click, keydown, keyup } }, dots, circle);

  function draw() {
    circle.toggleAttribute("hidden", lat === undefined);
    radius.disabled = lat === undefined;
    said.textContent = lat === undefined ? t("map_hint") : t("within", { km, lat: number(lat, { maximumFractionDigits: 3 }), lon: number(lon, { maximumFractionDigits: 3 }) });
    if (lat === undefined) return;
    const [cx, cy] = px([lat, lon]);
    for (const [name, value] of Object.entries({ cx, cy, r: km * pxPerKm })) circle.setAttribute(name, value);
    radius.value = RADII.findIndex((value) => value >= km);
  }
  function put(at) {
    [lat, lon] = degrees(at).map((value) => Number(value.toFixed(5)));
    km ??= fitting;
    draw();
  }
  function tell() {
    if (lat !== undefined) changed(`${lat},${lon},${km}`);
  }
  function click(event) {
    const { left, top, width } = chart.getBoundingClientRect();
    put([event.clientX - left, event.clientY - top].map((value) => (value * WIDTH) / width));
    tell();
  }
  function keydown(event) {
    if (!(event.key in WAYS)) return;
    event.preventDefault();
    const [x, y] = lat === undefined ? [WIDTH / 2, HEIGHT / 2] : px([lat, lon]);
    put([x + WAYS[event.key][0], y + WAYS[event.key][1]]);
  }
  function keyup(event) {
    if (event.key in WAYS) tell();
  }
  draw();
  return el("div", { class: "place" }, chart, radius, said);
}
