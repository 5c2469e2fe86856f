/** Elements, made without markup: what comes from data can only ever become text. */

/** An element. Attributes that are null or false are left out, `on…` functions become listeners. */
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

/** Set an element's text, touching the page only where it differs. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set or take away an attribute, touching the page only where it differs. */
export function mark(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/** Put other children into an element, unless they would say the same: so focus and selection stay. */
export function fill(element, ...children) {
  const fresh = [...h("div", {}, ...children).childNodes];
  const before = [...element.childNodes];
  if (fresh.length === before.length && fresh.every((one, at) => one.isEqualNode(before[at]))) return;
  element.replaceChildren(...fresh);
}

/** Keep one child per item, in the items' order; children are made once and updated after that. */
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

/** An id that no other element has. */
export function fresh(prefix) {
  last += 1;
  return `${prefix}-${last}`;
}
