// Alerts as marks on the plots: a band for as long as each lasted, a line and a shape at its start.

import { plain } from "../format.js";

const MARKS = {
  critical: { shape: "■", colour: "--mark-critical" },
  warning: { shape: "▲", colour: "--mark-warning" },
  info: { shape: "●", colour: "--mark-info" },
};
const MOST = 50; // alerts drawn at once

/** The alerts that hold at some time of a stretch (s), as { from, to, severity, label }; newest first. */
export function marksIn(alerts, { from, to }, now) {
  const marks = [];
  for (const { triggeredAt, resolvedAt, severity, ruleName } of alerts) {
    const start = Date.parse(triggeredAt) / 1000;
    const end = resolvedAt ? Date.parse(resolvedAt) / 1000 : now / 1000;
    if (start > to || end < from || !(severity in MARKS)) continue;
    marks.push({ from: start, to: end, severity, label: plain(ruleName) });
  }
  return marks.sort((a, b) => b.from - a.from).slice(0, MOST);
}

/** What is said of the alerts that hold at some time of a bucket (s). */
export function labelAt(marks, start, bucket = 0) {
  const here = marks.filter(({ from, to }) => from <= start + bucket && start <= to);
  return here.map(({ severity, label }) => `${MARKS[severity].shape} ${label} (${severity})`).join(", ");
}

/** Draws marks behind a plot's lines. */
export function drawMarks(plot, marks, colours) {
  const { ctx, bbox } = plot;
  const { left, top, width, height } = bbox;
  const size = 9 * devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top - size, width, height + size);
  ctx.clip();
  ctx.font = `${size}px system-ui, sans-serif`;
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  for (const { from, to, severity } of marks) {
    const { shape, colour } = MARKS[severity];
    const x = plot.valToPos(from, "x", true);
    const wide = Math.max(plot.valToPos(to, "x", true) - x, devicePixelRatio);
    ctx.fillStyle = ctx.strokeStyle = colours(colour);
    ctx.globalAlpha = 0.12;
    ctx.fillRect(x, top, wide, height);
    ctx.globalAlpha = 1;
    ctx.lineWidth = devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, top + height);
    ctx.stroke();
    ctx.fillText(shape, Math.min(Math.max(x, left + size / 2), left + width - size / 2), top - size);
  }
  ctx.restore();
}
