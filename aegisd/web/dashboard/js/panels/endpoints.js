// The busiest endpoints of the range: sortable, searchable, each a way to its own plots.

import { byId, make, setText } from "../dom.js";
import { count, latency, percent } from "../format.js";
import { rangeParams } from "../view.js";
import { keepAsking } from "./asking.js";
import { figure, name } from "./cells.js";
import { furnish } from "./part.js";
import { matches, nextSort, parseSort, sorted } from "./ranking.js";
import { searchField } from "./search.js";
import { createTable } from "./table.js";

const FEW = 10; // shown at first
const ASKED = 100; // what is sorted
const ASKED_TO_SEARCH = 1_000; // the most that the API gives
const PAUSE_MS = 10_000; // endpoints are kept by the minute
const REST = "(other)"; // all endpoints that are not kept by name
const MOST_FIRST = "-requestCount";
const TEXTS = ["method", "path"];
const FIGURES = ["requestCount", "errorRate", "avgLatency", "p95Latency"];

const requests = {
  make: () => make("span", {}, make("span"), make("i", { class: "share" })),
  fill(element, { requestCount, share }) {
    setText(element.firstChild, count(requestCount));
    element.lastChild.style.transform = `scaleX(${share})`;
  },
};

/** Shows the endpoints. */
export function startEndpoints({ view, api, feed, session }) {
  const choose = ({ method, path }) => view.set({ endpoint: { method, path } });
  const order = () => parseSort(view.get().sort, [...TEXTS, ...FIGURES], MOST_FIRST);
  const table = createTable({
    labelledBy: "endpoints-title",
    columns: [
      { key: "method", label: "Method", cell: name("method"), sorts: true },
      { key: "path", label: "Path", cell: name("path", choose), heads: true, sorts: true },
      { key: "requestCount", label: "Requests", cell: requests, number: true, sorts: true },
      { key: "errorRate", label: "Errors", cell: figure("errorRate", percent, "%"), number: true, sorts: true },
      { key: "avgLatency", label: "Average", cell: figure("avgLatency", latency, "ms"), number: true, sorts: true },
      { key: "p95Latency", label: "p95", cell: figure("p95Latency", latency, "ms"), number: true, sorts: true },
    ],
    keyOf: ({ method, path }) => JSON.stringify([method, path]),
    rowData: ({ method, path, chosen }) => ({ method, path, rest: path === REST, chosen }),
    onSort: (key) => view.set({ sort: nextSort(order(), key, FIGURES.includes(key)) }),
  });
  const more = make("button", { type: "button", class: "quiet all", hidden: true });
  const note = furnish("endpoints", {
    tools: [searchField(view, "find", "Search endpoints")],
    content: [table.element],
  });
  table.element.append(more);

  let endpoints = null;
  let live = null; // the busiest of the last hour, from the daemon's memory
  let trouble = null; // why the range can't be had
  let isAll = false;
  more.addEventListener("click", () => {
    isAll = !isAll;
    render();
  });

  function render() {
    const known = trouble === null ? endpoints : live;
    if (known === null) return;
    const { find, endpoint } = view.get();
    const most = Math.max(1, ...known.filter(({ path }) => path !== REST).map((e) => e.requestCount));
    const found = sorted(known, order())
      .filter(({ method, path }) => matches(`${method} ${path}`, find))
      .map((one) => ({
        ...one,
        share: Math.min(1, one.requestCount / most),
        chosen: one.method === endpoint?.method && one.path === endpoint?.path,
      }));
    const { key, descending } = order();
    table.sortedBy(key, descending);
    table.show(isAll ? found : found.slice(0, FEW), find ? `No endpoint has “${find}”.` : empty());
    more.hidden = found.length <= FEW;
    setText(more, isAll ? `Show ${FEW}` : `Show all ${count(found.length)}`);
    note(trouble === null ? "" : "last hour, from this daemon’s memory");
  }

  function empty() {
    return trouble === null ? "No request in this range." : `Not known: ${trouble.message}.`;
  }

  const ask = keepAsking(session, {
    ask(signal) {
      const { node, find, ...range } = view.get();
      const limit = find ? ASKED_TO_SEARCH : ASKED;
      return api.get("api/metrics/top-endpoints", { ...rangeParams(range), node, limit }, signal);
    },
    show({ data }) {
      [endpoints, trouble] = [data, null];
      render();
    },
    fail(error) {
      trouble = error;
      render();
    },
    pause: () => PAUSE_MS,
  });
  feed.on("metrics", ({ topEndpoints }) => {
    if (topEndpoints === live || !topEndpoints) return;
    live = topEndpoints;
    if (trouble !== null) render();
  });
  let searched = view.get().find !== null;
  view.onChange((now, changed) => {
    const searches = now.find !== null;
    const asksAnew = ["range", "from", "to", "node"].some((key) => changed.has(key));
    if (asksAnew || searches !== searched) ask();
    searched = searches;
    render();
  });
  byId("endpoints").addEventListener("keydown", (event) => {
    if (event.key === "Escape" && view.get().endpoint) view.set({ endpoint: null });
  });
}
