// The latency heat map: when how many requests took how long.

import { byId, make, setText } from "../dom.js";
import { count, duration, percent } from "../format.js";
import { daemonNow } from "../panels/ages.js";
import { keepAsking } from "../panels/asking.js";
import { rangeParams } from "../view.js";
import { createChart } from "./chart.js";
import { isDark, onColours } from "./colours.js";
import { pauseBetween } from "./domain.js";
import { cellsOf, densest, rowOf, ticksOf } from "./heat.js";
import { placeOf, scale } from "./heat_scale.js";

const ASKS_ANEW = ["range", "from", "to", "node"];

/** Shows the heat map of all requests in its section. */
export function startHeatmap({ board, view, api, session }) {
  const { heat, ask, note } = createHeatmap({ board, view, api, session, id: "all", endpoint: () => ({}) });
  byId("heatmap").append(heat.element, note);
  view.onChange((now, changed) => ASKS_ANEW.some((key) => changed.has(key)) && ask());
}

/** Makes a heat map that asks by itself; endpoint() gives { method, path }, {}, or null for not now. */
export function createHeatmap({ board, view, api, session, id, endpoint }) {
  const heat = createChart(board, kind(id));
  heat.element.append(key());
  const note = make("p", { class: "plots-note" });
  let bucket = 10;
  const ask = keepAsking(session, {
    async ask(signal) {
      const own = endpoint();
      if (own === null) return null;
      const params = { ...rangeParams(view.get()), node: view.get().node, ...own };
      return cellsOf(await api.get("api/metrics/heatmap", params, signal));
    },
    show(cells) {
      if (cells === null) return;
      bucket = cells.bucket;
      heat.show(cells);
      setText(note, cells.total === 0 ? "No request with a duration in this range." : "");
    },
    fail: (error) => setText(note, `The heat map is not to be had: ${error.message}.`),
    pause: () => pauseBetween(bucket, true, daemonNow()),
  });
  return { heat, ask, note };
}

function kind(id) {
  return {
    id: `${id}-heat`,
    name: "Latency heat map",
    keys: [
      { key: "cell", label: "duration", mark: "none" },
      { key: "count", label: "requests", mark: "none" },
    ],
    lines: [{ paths: () => null, points: { show: false } }],
    scale: { distr: 3 },
    range: (low, high, { edges }) => [edges[0], edges.at(-1)],
    axis: { grid: { show: false }, splits: (u, axis, low, high) => ticksOf(low, high), filter: (u, splits) => splits },
    label: duration,
    rows: ({ times, bucket, edges }) => [times.map((time) => time + bucket / 2), times.map(() => edges[0])],
    points: false,
    draw: drawCells,
    values: said,
    summary,
  };
}

function drawCells(plot, { times, bucket, edges, rows, most }) {
  const colours = scale(isDark());
  const { ctx, bbox } = plot;
  const y = edges.map((edge) => Math.round(plot.valToPos(edge, "y", true)));
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const [t, time] of times.entries()) {
    const x = Math.round(plot.valToPos(time, "x", true));
    const wide = Math.round(plot.valToPos(time + bucket, "x", true)) - x;
    for (const [row, counts] of rows.entries()) {
      const place = placeOf(counts[t], most);
      if (place < 0) continue;
      ctx.fillStyle = colours[place];
      ctx.fillRect(x, y[row + 1], wide, y[row] - y[row + 1]);
    }
  }
  ctx.restore();
}

/** The cell under the cursor; without a mouse the fullest of the cursor's bucket; else the whole. */
function said(cells, index, plot) {
  const { edges, rows, total } = cells;
  if (index === null || rows.length === 0) return ["all", count(total)];
  const column = rows.map((row) => row[index]);
  const { top, event } = plot.cursor;
  const fullest = column.indexOf(Math.max(...column));
  const row = event && top >= 0 ? rowOf(cells, plot.posToVal(top, "y")) : fullest;
  return [`${duration(edges[row])} – ${duration(edges[row + 1])}`, count(column[row])];
}

function summary(cells) {
  if (cells.total === 0) return "No request with a duration in this range.";
  const { from, to, share } = densest(cells);
  const [low, high] = [cells.edges[0], cells.edges.at(-1)].map(duration);
  return (
    `${count(cells.total)} requests took between ${low} and ${high}; ` +
    `${percent(share)} % of them between ${duration(from)} and ${duration(to)}.`
  );
}

/** What the colours mean. */
function key() {
  const bar = make("span", { class: "heat-bar", "aria-hidden": "true" });
  const paint = () => {
    bar.style.background = `linear-gradient(to right, ${scale(isDark()).join(", ")})`;
  };
  onColours(paint);
  paint();
  return make("p", { class: "heat-key" }, "few", bar, "many requests");
}
