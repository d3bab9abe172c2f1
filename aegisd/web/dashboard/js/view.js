// What the page shows, as the query of its address: so a link shows a colleague the same.
//
// A view is { range, from, to, node, endpoint, sort, find, backends, backend, alerts }. range is a name, null
// where from stands (ms since 1970; to null means now); endpoint is { method, path }; the rest are
// texts. null is the default, and stands in no address.

export const RANGES = ["5m", "15m", "1h", "6h", "24h", "7d", "30d"];
export const DEFAULT_RANGE = "15m";
const TEXTS = ["node", "sort", "find", "backends", "backend", "alerts"];
const MOST_CHARACTERS = 4_096; // of a text in an address; a path has at most 2,048 bytes

/** The view that an address' query (`?range=1h&…`) asks for; what it doesn't understand is left out. */
export function parseView(search) {
  const query = new URLSearchParams(search);
  const text = (key) => query.get(key)?.slice(0, MOST_CHARACTERS) || null;
  const view = Object.fromEntries(TEXTS.map((key) => [key, text(key)]));
  const [from, to] = [moment(text("from")), moment(text("to"))];
  const free = from !== null && (to === null || from < to);
  const named = RANGES.includes(text("range")) ? text("range") : DEFAULT_RANGE;
  const [method, path] = [text("method"), text("path")];
  return {
    ...view,
    range: free ? null : named,
    from: free ? from : null,
    to: free ? to : null,
    endpoint: method && path ? { method, path } : null,
  };
}

/** The query of a view's address, "" for the default view. */
export function formatView(view) {
  const query = new URLSearchParams();
  const put = (key, value) => value && query.set(key, value);
  if (view.from !== null) {
    put("from", new Date(view.from).toISOString());
    if (view.to !== null) put("to", new Date(view.to).toISOString());
  } else if (view.range !== DEFAULT_RANGE) put("range", view.range);
  put("method", view.endpoint?.method);
  put("path", view.endpoint?.path);
  for (const key of TEXTS) put(key, view[key]);
  const text = query.toString();
  return text && `?${text}`;
}

/** The parameters of the API that stand for a view's range: { range } or { from, to? }. */
export function rangeParams({ range, from, to }) {
  if (from === null) return { range };
  const params = { from: new Date(from).toISOString() };
  return to === null ? params : { ...params, to: new Date(to).toISOString() };
}

function moment(text) {
  const time = Date.parse(text ?? "");
  return Number.isNaN(time) || time < 0 ? null : time;
}

/** The view of a window: bound to its address, and to going back and forward. */
export function createView(window) {
  const listeners = new Set();
  let current = parseView(window.location.search);

  function become(next) {
    const before = current;
    const changed = (key) => JSON.stringify(before[key]) !== JSON.stringify(next[key]);
    const keys = Object.keys(next).filter(changed);
    if (keys.length === 0) return false;
    current = Object.freeze(next);
    for (const listener of listeners) listener(current, new Set(keys));
    return true;
  }

  window.addEventListener("popstate", () => become(parseView(window.location.search)));

  return {
    /** The view, never changed in place. */
    get: () => current,

    /** Changes some keys. Each change is a step back; with replace it takes the last one's place. */
    set(patch, { replace = false } = {}) {
      const next = { ...current, ...patch };
      const url = window.location.pathname + formatView(next) + window.location.hash;
      const write = replace ? "replaceState" : "pushState";
      if (become(next)) window.history[write](null, "", url);
    },

    /** Calls listener(view, changedKeys) after each change; gives what ends that. */
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
