// Small helpers over the document. Text goes in as text, never as markup.

/** The element of the page with that id. */
export const $ = (id) => document.getElementById(id);

/** Makes an element: properties (`class`, `text`, listeners as `onclick`, attributes), then children. */
export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === false || value === undefined) continue;
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name === "class" ? "class" : name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** Changes a text only when it differs, so that nothing is announced or selected anew. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Makes the children of `parent` those of `rows`, in order, and keeps the nodes of keys that stay.
 * `create(row)` makes a node, `update(node, row)` brings it up to date.
 */
export function reconcile(parent, nodes, rows, create, update) {
  const keys = new Set(rows.map(({ key }) => key));
  for (const [key, node] of nodes) {
    if (keys.has(key)) continue;
    node.remove();
    nodes.delete(key);
  }
  let at = parent.firstChild;
  for (const row of rows) {
    let node = nodes.get(row.key);
    if (!node) {
      node = create(row);
      nodes.set(row.key, node);
    }
    update(node, row);
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
}

/** One of eight colours for a name, always the same one. */
export function hueOf(name) {
  let sum = 0;
  for (const letter of name) sum = (sum * 31 + letter.codePointAt(0)) >>> 0;
  return `hue-${sum % 8}`;
}

/** A round picture with the first letter of a name. */
export function avatar(name) {
  return make("span", { class: `avatar ${hueOf(name)}`, "aria-hidden": "true", text: ([...name][0] ?? "?").toUpperCase() });
}
