// Children of an element that stay the same as long as their key does, so that a selection, the
// focus and a screen reader's place survive the next update.

/** Makes render(items). make() gives a child, fill(child, item) puts an item's values into it. */
export function keyedChildren(parent, { keyOf, make, fill }) {
  const children = new Map();
  return function render(items) {
    const seen = new Set();
    let next = parent.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      if (seen.has(key)) continue;
      seen.add(key);
      const child = children.get(key) ?? make();
      children.set(key, child);
      fill(child, item);
      if (child === next) next = next.nextElementSibling;
      else parent.insertBefore(child, next);
    }
    for (const [key, child] of children) {
      if (seen.has(key)) continue;
      child.remove();
      children.delete(key);
    }
  };
}
