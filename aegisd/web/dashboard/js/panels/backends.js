// Backends, the worst first. Hundreds of them fold: a few are shown until somebody asks for all.

import { eachFrame, make, setText } from "../dom.js";
import { count, latency, percent } from "../format.js";
import { backendRows, FILTERS, summary } from "./backend_rows.js";
import { age, badge, figure, name } from "./cells.js";
import { furnish } from "./part.js";
import { matches } from "./ranking.js";
import { searchField } from "./search.js";
import { createTable } from "./table.js";

const FEW = 10;

/** Shows the backends of the live feed. */
export function startBackends({ view, feed }) {
  const table = createTable({
    labelledBy: "backends-title",
    columns: [
      { key: "name", label: "Name", cell: name("name"), heads: true },
      { key: "status", label: "Health", cell: badge("status") },
      { key: "circuitBreaker", label: "Breaker", cell: badge("circuitBreaker") },
      { key: "responseTimeMs", label: "Check", cell: figure("responseTimeMs", latency, "ms"), number: true },
      { key: "requestCount", label: "Requests", cell: figure("requestCount", count), number: true },
      { key: "errorRate", label: "Errors", cell: figure("errorRate", percent, "%"), number: true },
      { key: "p95Latency", label: "p95", cell: figure("p95Latency", latency, "ms"), number: true },
      { key: "lastSeen", label: "Seen", cell: age("lastSeen"), number: true },
    ],
    keyOf: ({ name }) => name,
    rowData: ({ name, status }) => ({ backend: name, status }),
  });
  const choices = Object.keys(FILTERS).map((filter) =>
    make("button", { type: "button", onclick: () => view.set({ backends: filter === "all" ? null : filter }) }, filter),
  );
  const filters = make("div", { class: "choices", role: "group", "aria-label": "Backends by health" }, ...choices);
  const search = searchField(view, "backend", "Search backends");
  const more = make("button", { type: "button", class: "quiet all", hidden: true });
  const note = furnish("backends", { tools: [filters, search], content: [table.element] });
  table.element.append(more);

  let rows = null;
  let isAll = false;
  const render = eachFrame(() => {
    if (rows === null) return;
    const { backends: filter, backend: find } = view.get();
    const chosen = Object.hasOwn(FILTERS, filter ?? "") ? filter : "all";
    choices.forEach((button) => button.setAttribute("aria-pressed", String(button.textContent === chosen)));
    const found = rows.filter((row) => FILTERS[chosen](row) && matches(row.name, find));
    table.show(isAll ? found : found.slice(0, FEW), rows.length > 0 ? "No backend is like this." : none());
    [filters.hidden, search.hidden] = [rows.length === 0, rows.length <= FEW && !find];
    more.hidden = found.length <= FEW;
    setText(more, isAll ? `Show ${FEW}` : `Show all ${count(found.length)}`);
    note(summary(rows));
  });

  more.addEventListener("click", () => {
    isAll = !isAll;
    render();
  });
  feed.on("metrics", ({ backends }) => {
    if (!backends) return;
    rows = backendRows(backends);
    render();
  });
  view.onChange(render);
}

function none() {
  const command = "aegisd send --kind backend backend_name=api-1 status=healthy";
  return [
    "No backend was heard of. Requests name theirs in ",
    make("code", {}, "backend"),
    "; its health is reported so: ",
    make("code", {}, command),
  ];
}
