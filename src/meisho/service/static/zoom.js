/** Zoom and pan of what stands on a stage: wheel, two fingers, drag, buttons and keys. */

const MOST = 12;
const KEYS = { "+": 1.4, "=": 1.4, "-": 1 / 1.4 };
const WAYS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

export class Zoom {
  constructor(stage, canvas) {
    Object.assign(this, { stage, canvas });
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, ({ pointerId }) => this.fingers.delete(pointerId));
    stage.addEventListener("keydown", (event) => this.#key(event));
    this.reset();
  }

  reset() {
    Object.assign(this, { scale: 1, x: 0, y: 0, fingers: new Map() });
    this.#show();
  }

  /** Zoom by a factor about a point of the stage, by default its middle. */
  by(factor, [px, py] = [this.stage.clientWidth / 2, this.stage.clientHeight / 2]) {
    const scale = Math.min(MOST, Math.max(1, this.scale * factor));
    const grown = scale / this.scale;
    Object.assign(this, { scale, x: px - (px - this.x) * grown, y: py - (py - this.y) * grown });
    this.#show();
  }

  #show() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    this.x = Math.min(0, Math.max(width * (1 - this.scale), this.x));
    this.y = Math.min(0, Math.max(height * (1 - this.scale), this.y));
    this.canvas.style.transform = `translate(${this.x}px,${this.y}px) scale(${this.scale})`;
    this.canvas.style.setProperty("--zoom", this.scale);
    this.stage.classList.toggle("zoomed", this.scale > 1);
  }

  #at({ clientX, clientY }) {
    const { left, top } = this.stage.getBoundingClientRect();
    return [clientX - left, clientY - top];
  }

  #wheel(event) {
    event.preventDefault();
    this.by(Math.exp(-event.deltaY / 400), this.#at(event));
  }

  #down(event) {
    if (event.button) return;
    this.stage.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, this.#at(event));
  }

  #move(event) {
    const was = this.fingers.get(event.pointerId);
    if (!was) return;
    const is = this.#at(event);
    const other = [...this.fingers].find(([id]) => id !== event.pointerId)?.[1];
    this.fingers.set(event.pointerId, is);
    if (other) {
      const apart = ([x, y]) => Math.hypot(x - other[0], y - other[1]) || 1;
      this.by(apart(is) / apart(was), [(is[0] + other[0]) / 2, (is[1] + other[1]) / 2]);
    } else {
      this.x += is[0] - was[0];
      this.y += is[1] - was[1];
      this.#show();
    }
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in KEYS) this.by(KEYS[event.key]);
    else if (event.key === "0") this.reset();
    else if (event.key in WAYS && this.scale > 1) {
      this.x += WAYS[event.key][0] * 60;
      this.y += WAYS[event.key][1] * 60;
      this.#show();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
