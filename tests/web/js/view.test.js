import assert from "node:assert/strict";
import { test } from "node:test";

import { duration, latency, percent, plain, rate } from "../../../aegisd/web/dashboard/js/format.js";
import { createView, formatView, parseView, rangeParams } from "../../../aegisd/web/dashboard/js/view.js";

const DEFAULT = parseView("");
const FROM = Date.UTC(2026, 0, 2, 3, 4, 5);

/** What a view needs of a window: an address, a history of it, and going back. */
function fakeWindow(search = "") {
  const entries = [search];
  const listeners = [];
  const window = {
    location: { pathname: "/aegisd/", search, hash: "#alerts" },
    history: {
      pushState: (state, title, url) => entries.push(url),
      replaceState: (state, title, url) => entries.splice(-1, 1, url),
    },
    addEventListener: (name, listener) => listeners.push(listener),
  };
  const back = (to) => {
    window.location.search = to;
    for (const listener of listeners) listener();
  };
  return { window, entries, back };
}

test("the default view has no query", () => {
  assert.equal(formatView(DEFAULT), "");
  assert.equal(DEFAULT.range, "15m");
});

test("a view comes back from its address as it was", () => {
  const views = [
    { ...DEFAULT, range: "7d", node: "gw 1&2", sort: "-p95", find: "/a?b=c#d" },
    { ...DEFAULT, endpoint: { method: "GET", path: "/ü/{id}/%2F\u202e" } },
    { ...DEFAULT, range: null, from: FROM, to: FROM + 60_000 },
    { ...DEFAULT, range: null, from: FROM, to: null },
  ];
  for (const view of views) assert.deepEqual(parseView(formatView(view)), view);
});

test("what an address says wrongly is left out", () => {
  for (const search of ["?range=1y", "?from=x", `?from=${FROM}x&to=1`, "?to=2026-01-01", "?method=GET"]) {
    assert.deepEqual(parseView(search), DEFAULT, search);
  }
  const backwards = "?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z";
  assert.deepEqual(parseView(backwards), DEFAULT);
});

test("the API is asked for a named range, or for both ends", () => {
  assert.deepEqual(rangeParams(DEFAULT), { range: "15m" });
  assert.deepEqual(rangeParams({ from: FROM, to: null }), { from: "2026-01-02T03:04:05.000Z" });
  assert.equal(rangeParams({ from: FROM, to: FROM + 1000 }).to, "2026-01-02T03:04:06.000Z");
});

test("a change is a step in the history, and tells which keys changed", () => {
  const { window, entries } = fakeWindow();
  const view = createView(window);
  const changes = [];
  const end = view.onChange((now, keys) => changes.push([now.range, [...keys]]));
  view.set({ range: "1h" });
  view.set({ range: "1h" });
  view.set({ find: "x" }, { replace: true });
  end();
  view.set({ range: "5m" });
  assert.deepEqual(changes, [["1h", ["range"]], ["1h", ["find"]]]);
  assert.deepEqual(entries, ["", "/aegisd/?range=1h&find=x#alerts", "/aegisd/?range=5m&find=x#alerts"]);
});

test("going back brings the earlier view, without another step", () => {
  const { window, entries, back } = fakeWindow("?range=6h");
  const view = createView(window);
  view.set({ range: null, from: FROM, to: FROM + 60_000 });
  back("?range=6h");
  assert.equal(view.get().range, "6h");
  assert.equal(view.get().from, null);
  assert.equal(entries.length, 2);
});

test("figures have the decimals that their size needs; what is not known is a dash", () => {
  assert.deepEqual([null, undefined, NaN].map(rate), ["–", "–", "–"]);
  assert.deepEqual([0, 0.5, 12.34].map(rate), ["0", "0.50", "12.3"]);
  assert.deepEqual([0, 3.456, 100].map(percent), ["0", "3.46", "100"]);
  assert.deepEqual([1.234, 56.78].map(latency), ["1.23", "56.8"]);
});

test("a duration has the unit that suits", () => {
  assert.deepEqual([0.085, 1, 12.34, 1500, 120_000].map(duration), ["85 µs", "1 ms", "12.3 ms", "1.5 s", "2 min"]);
  assert.equal(duration(null), "–");
});

test("names can't reorder, break or hide what stands around them", () => {
  assert.equal(plain("a\u202eb\u2066c"), "a⟨U+202E⟩b⟨U+2066⟩c");
  assert.equal(plain("\u0000\u001b[31m\n\u007f\u0085"), "␀␛[31m␊␡␡");
  assert.equal(plain("<b>ü 漢 🙂"), "<b>ü 漢 🙂");
  assert.equal(plain(null), "");
});
