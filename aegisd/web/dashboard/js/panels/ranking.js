// Orders and searches of tables. A sort is a column's key, behind "-" where the largest come first.

/** { key, descending } of a sort; the fallback where it names no known column. */
export function parseSort(sort, keys, fallback) {
  const key = sort?.replace(/^-/, "");
  return keys.includes(key) ? { key, descending: sort.startsWith("-") } : parseSort(fallback, keys);
}

/** The sort after a click on a column: figures start with the largest, names with the first. */
export function nextSort({ key, descending }, clicked, isFigure) {
  const down = clicked === key ? !descending : isFigure;
  return (down ? "-" : "") + clicked;
}

/** The items in order; what is not known comes last, whichever way. */
export function sorted(items, { key, descending }) {
  const sign = descending ? -1 : 1;
  return [...items].sort((one, other) => {
    const [a, b] = [one[key] ?? null, other[key] ?? null];
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "string" ? a.localeCompare(String(b)) : a - b);
  });
}

/** Whether all words of a search stand in a text, in whatever case. */
export function matches(text, search) {
  const lower = text.toLowerCase();
  return (search ?? "").toLowerCase().split(/\s+/).every((word) => lower.includes(word));
}
