/** Create elements without markup, so that data always becomes text. */

/** Create an element. Attributes that are null or false are omitted; `on…` functions become listeners. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => ![null, undefined, false, ""].includes(child)));
  return element;
}

/** Set an element's text if it differs. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set or remove an attribute if it differs. */
export function mark(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/** Replace an element's children if they differ. Equal children stay, with focus and selection. */
export function fill(element, ...children) {
  const fresh = [...h("div", {}, ...children).childNodes];
  const before = [...element.childNodes];
  if (fresh.length === before.length && fresh.every((one, at) => one.isEqualNode(before[at]))) return;
  element.replaceChildren(...fresh);
}

/** Keep one child per item, in the items' order. Each child is created once, then updated. */
export function keyed(parent, items, key, make, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let previous = null;
  for (const item of items) {
    const name = String(key(item));
    let child = known.get(name);
    known.delete(name);
    if (!child) {
      child = make(item);
      child.dataset.key = name;
    }
    update(child, item);
    const place = previous ? previous.nextSibling : parent.firstChild;
    if (child !== place) parent.insertBefore(child, place);
    previous = child;
  }
  for (const child of known.values()) child.remove();
}

let last = 0;

/** A unique element id. */
export function fresh(prefix) {
  last += 1;
  return `${prefix}-${last}`;
}
