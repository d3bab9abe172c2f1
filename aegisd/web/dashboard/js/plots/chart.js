// One plot: uPlot with this page's colours and axes, a legend that follows the cursor, the keyboard,
// and words for screen readers. The board (board.js) keeps time, cursor and marks of all plots.

import { eachFrame, make, setText } from "../dom.js";
import { moment } from "../format.js";
import { colourOf, onColours } from "./colours.js";
import { nearest } from "./domain.js";
import { timeLabels } from "./ticks.js";

const AXIS_WIDTH = 54; // the same for all, so that their times stand above each other
const AWAY = -10; // where uPlot has a cursor that is nowhere
const FONT = "11px system-ui, sans-serif";
const SUMMARY_MS = 30_000; // words change seldom, or they would never be read to their end
const STEPS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
const axisColours = { stroke: () => colourOf("--muted"), font: FONT };
const grid = { stroke: () => colourOf("--grid"), width: 1 };
const ticks = { ...grid, size: 4 };

/** Makes a plot on the board and gives { element, show(figures) }.
 *
 * kind is { id, name, keys, lines, rows(figures), range(low, high, figures), label(value),
 * values(figures, index, plot), summary(figures) } and, for a plot that draws itself, draw(plot,
 * figures). figures have times (s); lines are uPlot's series without the times, rows the columns of
 * all; values is what the legend says for its keys at an index, or as of the newest for null.
 */
export function createChart(board, kind) {
  const legend = make("dl", { class: "legend" });
  const texts = kind.keys.map(({ label, mark }) => {
    const value = make("dd", {}, "–");
    const key = make("i", { class: `key ${mark}`, "aria-hidden": "true" });
    legend.append(make("div", {}, make("dt", {}, key, label), value));
    return value;
  });
  const summary = make("p", { class: "unseen", id: `about-${kind.id}` });
  const canvas = make("div", {
    class: "canvas",
    tabindex: "0",
    role: "slider",
    "aria-label": `${kind.name}: time`,
    "aria-describedby": summary.id,
    "aria-valuenow": "0",
  });
  const caption = make("figcaption", {}, make("h3", {}, kind.name), legend);
  const element = make("figure", { class: `plot panel ${kind.id}` }, caption, canvas, summary);
  let figures = null;
  let plot = null;
  let size = { width: 0, height: 0 }; // none while it is hidden
  let summedUpAt = -Infinity;

  // A plot that draws itself has the scale of what it draws.
  const scale = { ...kind.scale, range: (u, low, high) => kind.range(low, high, figures) };

  function options() {
    return {
      ...size,
      padding: [12, 12, 0, 0],
      legend: { show: false },
      scales: { x: { time: true, range: () => [board.domain().from, board.domain().to] }, y: scale },
      series: [{}, ...kind.lines],
      axes: [
        { ...axisColours, grid, ticks, size: 26, space: 76, values: (u, at, _i, _s, apart) => timeLabels(at, apart) },
        { ...axisColours, grid, ticks, size: AXIS_WIDTH, space: 30, ...kind.axis, values: (u, at) => at.map((v) => (v === null ? "" : kind.label(v))) },
      ],
      cursor: {
        y: kind.draw !== undefined,
        points: {
          show: kind.points !== false,
          size: 8,
          width: 2,
          stroke: (u, line) => u.series[line].stroke(),
          fill: () => colourOf("--panel"),
        },
        drag: { x: true, y: false, setScale: false, dist: 6 },
        move: snapped,
        bind: { dblclick: () => () => board.reset() },
      },
      hooks: {
        drawClear: [(u) => kind.draw || board.drawMarks(u)],
        draw: [(u) => kind.draw && figures && (kind.draw(u, figures), board.drawMarks(u))],
        setCursor: [moved],
        setSelect: [selected],
      },
    };
  }

  function snapped(u, left, top) {
    const x = left < 0 ? undefined : u.data[0][u.posToIdx(left)];
    return [x === undefined ? left : u.valToPos(x, "x"), top];
  }

  function moved(u) {
    const { left, idx, event } = u.cursor;
    if (event) board.setCursor(left < 0 ? null : figures.times[idx], element);
    describe();
  }

  function selected(u) {
    const { left, width } = u.select;
    if (width <= 0) return;
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    board.zoomTo({ from: u.posToVal(left, "x"), to: u.posToVal(left + width, "x") });
  }

  function index() {
    const time = board.cursor();
    return time === null || figures === null ? null : nearest(figures.times, time);
  }

  function describe() {
    if (figures === null) return;
    const values = kind.values(figures, index(), plot);
    for (const [i, text] of texts.entries()) setText(text, values[i]);
  }

  function sumUp() {
    const now = performance.now();
    if (figures === null || now - summedUpAt < SUMMARY_MS) return;
    summedUpAt = now;
    setText(summary, kind.summary(figures));
  }

  function point(isMine) {
    if (plot === null) return;
    if (!isMine) {
      const at = index();
      const left = at === null ? AWAY : plot.valToPos(plot.data[0][at], "x");
      plot.setCursor({ left, top: at === null || kind.draw ? AWAY : 0 }, false);
    }
    describe();
  }

  function draw() {
    if (figures === null || size.width === 0 || globalThis.uPlot === undefined) return;
    const data = kind.rows(figures);
    if (plot === null) plot = new globalThis.uPlot(options(), data, canvas);
    else {
      if (plot.width !== size.width || plot.height !== size.height) plot.setSize(size);
      plot.setData(data);
    }
    point(hasMouse());
    sumUp();
  }

  // Then uPlot keeps the cursor where the mouse is.
  const hasMouse = () => canvas.matches(":hover");

  function speak() {
    const { from, to } = board.domain();
    const time = figures?.times[index() ?? figures.times.length - 1];
    if (time === undefined) return;
    const said = kind.keys.map(({ label }, i) => `${label} ${texts[i].textContent}`).join(", ");
    const alerts = board.alertsAt(time);
    canvas.setAttribute("aria-valuemin", Math.round(from));
    canvas.setAttribute("aria-valuemax", Math.round(to));
    canvas.setAttribute("aria-valuenow", Math.round(time));
    canvas.setAttribute("aria-valuetext", [moment(time * 1000), said, alerts].filter(Boolean).join(". "));
  }

  function pressed(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || figures === null) return;
    const { times } = figures;
    const step = STEPS[event.key];
    if (event.key === "Escape" && board.cursor() !== null) board.setCursor(null);
    else if (event.key === "+") board.zoom(0.5);
    else if (event.key === "-") board.zoom(2);
    else if (event.shiftKey && Math.abs(step) === 1) board.pan(step);
    else if (step !== undefined && times.length > 0) {
      const at = (index() ?? times.length) + step;
      board.setCursor(times[Math.min(Math.max(at, 0), times.length - 1)]);
    } else return;
    event.preventDefault();
    speak();
  }

  const drawSoon = eachFrame(draw);
  canvas.addEventListener("keydown", pressed);
  canvas.addEventListener("focus", speak);
  new ResizeObserver(([{ contentRect }]) => {
    size = { width: Math.floor(contentRect.width), height: Math.floor(contentRect.height) };
    drawSoon();
  }).observe(canvas);
  onColours(drawSoon);
  board.add({ element, point, draw: drawSoon });
  return {
    element,
    /** Shows figures; drawn with the next frame. */
    show(next) {
      figures = next;
      drawSoon();
    },
  };
}
