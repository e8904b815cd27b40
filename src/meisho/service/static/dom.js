/** Elements from plain values. Every text becomes a text node: nothing is ever read as HTML. */

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

/** An element: `on` holds listeners, `css` style properties, `data` a dataset; other names are attributes. */
export function el(tag, { on = {}, css = {}, data = {}, ...attributes } = {}, ...children) {
  return fill(document.createElement(tag), { on, css, data, attributes }, children);
}

export function svg(tag, { on = {}, css = {}, data = {}, ...attributes } = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), { on, css, data, attributes }, children);
}

function fill(element, { on, css, data, attributes }, children) {
  for (const [name, value] of Object.entries(attributes))
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  for (const [name, value] of Object.entries(css)) element.style.setProperty(name, value);
  Object.assign(element.dataset, data);
  element.append(...children.flat(2).filter((child) => child != null && child !== false));
  return element;
}

export const icon = (name) =>
  svg("svg", { class: "icon", "aria-hidden": "true", viewBox: "0 0 24 24" }, svg("use", { href: `#i-${name}` }));

/** A button with an icon, a text, or both; an icon alone is named by `label`. */
export function button({ icon: name, text, label, ...rest }, click) {
  const parts = [name && icon(name), text && el("span", {}, text)];
  return el("button", { type: "button", "aria-label": label, title: label, ...rest, on: { click } }, ...parts);
}

/** Replace the children of `parent`, leaving those alone that stay where they are. */
export function setChildren(parent, children) {
  const wanted = children.flat().filter(Boolean);
  for (const child of [...parent.childNodes]) if (!wanted.includes(child)) child.remove();
  wanted.forEach((child, at) => parent.childNodes[at] !== child && parent.insertBefore(child, parent.childNodes[at] || null));
}

/** Do `fill`, which makes the controls in `root` anew; the one in use is so again, by its place among them. */
export function keepFocus(root, fill) {
  const controls = () => [...root.querySelectorAll("a, button, input, select, summary, [tabindex]")];
  const at = controls().indexOf(document.activeElement);
  fill();
  if (at >= 0) controls()[at]?.focus({ preventScroll: true });
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Do `change`, then let each of `elements` glide from where it was to where it is. */
export function glide(elements, change) {
  const before = new Map(elements.map((element) => [element, element.isConnected && element.getBoundingClientRect()]));
  change();
  if (calm()) return;
  for (const [element, was] of before) {
    const is = element.getBoundingClientRect();
    const seen = (rect) => rect.bottom > -300 && rect.top < innerHeight + 300;
    if (!was || !was.width || (!seen(was) && !seen(is)) || (was.x === is.x && was.y === is.y)) continue;
    element.animate([{ transform: `translate(${was.x - is.x}px,${was.y - is.y}px)` }, { transform: "none" }], {
      duration: 500,
      easing: "cubic-bezier(.3,.8,.3,1)",
    });
  }
}
