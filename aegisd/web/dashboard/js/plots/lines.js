// The four plots of figures over time.

import { duration, percent, rate } from "../format.js";
import { colourOf } from "./colours.js";
import { roundedUp } from "./domain.js";
import { VALUE_LABELS } from "./ticks.js";

const LINE = { width: 1.5, points: { show: true, filter: alone, size: 4 } };
const STATUSES = [
  ["s2xx", "2xx"], ["s3xx", "3xx"], ["s4xx", "4xx"], ["s5xx", "5xx"], ["other", "other"],
];
const perSecond = (value) => `${rate(value)}/s`;
const inPercent = (value) => `${percent(value)} %`;
const upTo = (most) => (low, high) => [0, Math.min(roundedUp(high), most)];

const line = (variable, more = {}) => ({ ...LINE, stroke: () => colourOf(variable), ...more });
const area = (variable) => ({ fill: () => faint(colourOf(variable)) });
const at = (column, index) => column[index] ?? null;

/** The plots, as chart.js takes them; id tells those of one group from another's. */
export const lineKinds = (id) => [
  lines(id, "rate", "Request rate", "/s", upTo(Infinity), perSecond, [
    ["rate", "requests", line("--plot-rate", area("--plot-rate"))],
  ]),
  lines(id, "errors", "Error rate", "%", upTo(100), inPercent, [
    ["errors", "failed", line("--plot-error", area("--plot-error"))],
  ]),
  lines(id, "latency", "Latency", "ms", upTo(Infinity), duration, [
    ["p50", "p50", line("--plot-p50")],
    ["p95", "p95", line("--plot-p95", { dash: [7, 3] })],
    ["p99", "p99", line("--plot-p99", { dash: [2, 2] })],
  ]),
  stack(id),
];

function lines(id, name, title, unit, range, format, series) {
  const keys = series.map(([key, label]) => ({ key, label, mark: key }));
  return {
    id: `${id}-${name}`,
    name: title,
    keys,
    range,
    label: VALUE_LABELS[unit],
    lines: series.map(([, , line]) => line),
    rows: (figures) => [figures.times, ...keys.map(({ key }) => figures[key])],
    values: (figures, index) => keys.map(({ key }) => format(valueAt(figures, key, index))),
    summary: (figures) => summary(title, keys, figures, format),
  };
}

/** Status classes on top of each other, 2xx lowest. uPlot fills to zero, so the whole is drawn first. */
function stack(id) {
  const keys = STATUSES.map(([key, label]) => ({ key, label, mark: key }));
  const filled = (key) => ({ width: 0, fill: () => colourOf(`--plot-${key}`), points: { show: false } });
  return {
    id: `${id}-statuses`,
    name: "Statuses",
    keys,
    range: upTo(Infinity),
    points: false,
    label: VALUE_LABELS["/s"],
    lines: STATUSES.map(([key]) => filled(key)).reverse(),
    rows(figures) {
      const sums = [];
      let below = figures.times.map(() => 0);
      for (const { key } of keys) {
        below = figures[key].map((value, i) => below[i] + value);
        sums.unshift(below);
      }
      return [figures.times, ...sums];
    },
    values: (figures, index) => keys.map(({ key }) => perSecond(valueAt(figures, key, index))),
    summary: (figures) => summary("Statuses", keys, figures, perSecond),
  };
}

/** The value at an index; for null the newest that is known. */
function valueAt(figures, key, index) {
  if (index !== null) return at(figures[key], index);
  return figures[key].findLast((value) => value !== null) ?? null;
}

function summary(title, keys, figures, format) {
  const parts = keys.map(({ key, label }) => {
    const known = figures[key].filter((value) => value !== null);
    if (known.length === 0) return `${label} not known`;
    const [low, high] = [Math.min(...known), Math.max(...known)];
    return `${label} ${format(known.at(-1))}, between ${format(low)} and ${format(high)}`;
  });
  return `${title}, at the end of the range: ${parts.join("; ")}.`;
}

/** The points that no line reaches: those between two gaps. */
function alone(plot, series) {
  const values = plot.data[series];
  const isGap = (i) => (values[i] ?? null) === null;
  return values.flatMap((value, i) => (!isGap(i) && isGap(i - 1) && isGap(i + 1) ? [i] : []));
}

const faint = (colour) => colour.replace(/^rgb\((.*)\)$/, "rgba($1, 0.14)");
