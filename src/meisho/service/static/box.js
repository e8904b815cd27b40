/** A box on a photo, drawn by mouse, touch or arrow keys. It is told on release. */

import { $, el } from "./dom.js";
import { t } from "./texts.js";

const LEAST = 0.02; // of a side: a click is not a box
const STEP = 0.02;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const CORNERS = ["nw", "ne", "sw", "se"];

const hold = (value, least = 0, most = 1) => Math.min(most, Math.max(least, value));

/** A box between two corners, as shares of the sides. */
const between = ([ax, ay], [bx, by]) => [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];

export class Box {
  /** `frame` surrounds the picture exactly; `changed` gets [x0, y0, x1, y1] px, or null. */
  constructor(frame, changed) {
    Object.assign(this, { frame, changed });
    this.region = el("div", { class: "region", hidden: true }, CORNERS.map((corner) => el("i", { class: corner, data: { corner } })));
    frame.append(this.region);
    this.forget();
    frame.addEventListener("pointerdown", (event) => this.#grab(event));
    frame.addEventListener("pointermove", (event) => this.#drag(event));
    frame.addEventListener("pointerup", (event) => this.#release(event));
    for (const lost of ["pointercancel", "lostpointercapture"]) frame.addEventListener(lost, () => (this.anchor || this.moving) && this.#cancel());
    frame.addEventListener("keydown", (event) => this.#press(event));
    frame.addEventListener("keyup", (event) => event.key in ARROWS && this.pending && this.#tell());
    frame.addEventListener("blur", () => this.pending && this.#tell());
  }

  /** Another photo is shown, whose size is not known yet. */
  forget() {
    Object.assign(this, { size: null, told: null, pending: false });
    this.#cancel();
  }

  /** Show a box of px on a photo of `size` px; what the reader is drawing stays as it is. */
  set(box, size) {
    this.size = size;
    this.told = box && box.map((value, at) => hold(value / size[at % 2]));
    if (this.anchor || this.moving) return;
    if (this.untold) this.#tell();
    else if (!this.pending) this.#draw(this.told);
  }

  get px() {
    return this.box && this.box.map((share, at) => Math.round(share * this.size[at % 2]));
  }

  #draw(box) {
    this.box = box;
    this.region.hidden = !box;
    this.frame.classList.toggle("boxed", Boolean(box));
    if (!box) return;
    const [x0, y0, x1, y1] = box.map((share) => share * 100);
    Object.assign(this.region.style, { left: `${x0}%`, top: `${y0}%`, width: `${x1 - x0}%`, height: `${y1 - y0}%` });
  }

  #at(event) {
    const { left, top, width, height } = this.frame.getBoundingClientRect();
    return [hold((event.clientX - left) / width), hold((event.clientY - top) / height)];
  }

  #grab(event) {
    if (event.button || !event.isPrimary) return;
    event.preventDefault();
    this.frame.focus({ preventScroll: true });
    this.frame.setPointerCapture(event.pointerId);
    const { corner } = event.target.dataset;
    const start = this.#at(event);
    if (corner) {
      const [x0, y0, x1, y1] = this.box;
      this.anchor = [corner.includes("w") ? x1 : x0, corner.includes("n") ? y1 : y0];
    } else if (event.target === this.region) this.moving = { start, box: this.box };
    else this.anchor = start;
  }

  #drag(event) {
    if (this.anchor) this.#draw(between(this.anchor, this.#at(event)));
    if (this.moving) {
      const [x, y] = this.#at(event);
      this.#draw(this.#moved(this.moving.box, x - this.moving.start[0], y - this.moving.start[1]));
    }
  }

  #moved([x0, y0, x1, y1], dx, dy) {
    const [x, y] = [hold(dx, -x0, 1 - x1), hold(dy, -y0, 1 - y1)];
    return [x0 + x, y0 + y, x1 + x, y1 + y];
  }

  #release() {
    if (!this.anchor && !this.moving) return;
    this.anchor = this.moving = null;
    this.#tell();
  }

  #cancel() {
    this.anchor = this.moving = null;
    this.untold = false;
    this.#draw(this.told);
  }

  #press(event) {
    if (event.key === "Escape" || event.key === "Delete") {
      if (!this.box) return;
      event.stopPropagation();
      this.clear();
    }
    if (!(event.key in ARROWS) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const [dx, dy] = ARROWS[event.key].map((way) => way * STEP);
    const box = this.box || [0.25, 0.25, 0.75, 0.75];
    this.#draw(event.shiftKey ? this.#resized(box, dx, dy) : this.box ? this.#moved(box, dx, dy) : box);
    this.pending = true;
  }

  #resized([x0, y0, x1, y1], dx, dy) {
    return [x0, y0, hold(x1 + dx, x0 + LEAST * 2, 1), hold(y1 + dy, y0 + LEAST * 2, 1)];
  }

  clear() {
    this.#draw(null);
    this.#tell();
  }

  #tell() {
    this.pending = false;
    this.untold = !this.size; // told as soon as it is known how large the photo is
    if (this.untold) return;
    const box = this.box;
    if (box && (box[2] - box[0] < LEAST || box[3] - box[1] < LEAST)) return this.#draw(this.told);
    if (String(box) === String(this.told)) return;
    this.told = box;
    const [x0, y0, x1, y1] = this.px || [];
    $("said").textContent = box ? t("box_said", { x0, y0, x1, y1 }) : t("box_gone");
    this.changed(this.px);
  }
}
