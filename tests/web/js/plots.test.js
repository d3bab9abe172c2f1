import assert from "node:assert/strict";
import { test } from "node:test";

import {
  domainOf, isAtEnd, nearest, panned, patchFor, pauseBetween, roundedUp, zoomed,
} from "../../../aegisd/web/dashboard/js/plots/domain.js";
import { cellsOf, densest, rowOf, ticksOf } from "../../../aegisd/web/dashboard/js/plots/heat.js";
import { placeOf, scale } from "../../../aegisd/web/dashboard/js/plots/heat_scale.js";
import { labelAt, marksIn } from "../../../aegisd/web/dashboard/js/plots/marks.js";
import { coarser, figures, merged, ofHistory, ofLive } from "../../../aegisd/web/dashboard/js/plots/series.js";

const T0 = 1_700_000_400; // a whole multiple of ten minutes
const at = (seconds) => new Date((T0 + seconds) * 1000).toISOString();

/** Answers about buckets { seconds: [requests, failed, p95] } that begin at T0 + seconds. */
function points(buckets) {
  const each = Object.entries(buckets).map(([time, point]) => [at(Number(time)), point]);
  return {
    rates: each.map(([timestamp, [requestCount, failedCount]]) => ({ timestamp, requestCount, failedCount })),
    latencies: each.map(([timestamp, [, , p95]]) => ({ timestamp, p50: 1, p95, p99: 2 * p95 })),
    statuses: each.map(([timestamp, [requests, failed]]) => ({
      timestamp, status2xx: requests - failed, status3xx: 0, status4xx: 0, status5xx: failed, statusOther: 0,
    })),
  };
}

function history(bucketSeconds, [from, to], buckets, completeUntil = null) {
  const { rates, latencies, statuses } = points(buckets);
  const range = { from: at(from), to: at(to), bucketSeconds, completeUntil };
  return ofHistory(...[rates, latencies, statuses].map((data) => ({ data, range })));
}

function live(now, buckets) {
  const { rates, latencies, statuses } = points(buckets);
  return ofLive({
    timestamp: at(now), requestRate: rates, latencyPercentiles: latencies, statusDistribution: statuses,
  });
}

test("rates are taken over as much of a bucket as the range holds", () => {
  const shown = figures(history(60, [30, 130], { 0: [30, 3, 5], 60: [120, 0, 6], 120: [20, 10, 7] }));
  assert.deepEqual(shown.times, [T0, T0 + 60, T0 + 120]);
  assert.deepEqual(shown.rate, [1, 2, 2]);
  assert.deepEqual(shown.errors, [10, 0, 50]);
  assert.deepEqual(shown.s5xx, [0.1, 0, 1]);
});

test("a bucket without requests has a rate of 0, and no error rate", () => {
  const shown = figures(history(10, [0, 20], { 0: [0, 0, null], 10: [10, 0, 3] }));
  assert.deepEqual(shown.rate, [0, 1]);
  assert.deepEqual(shown.errors, [null, 0]);
  assert.deepEqual(shown.p95, [null, 3]);
});

test("history wins where it is complete, live figures beyond", () => {
  const past = history(10, [0, 25], { 0: [7, 0, 1], 10: [8, 0, 1], 20: [4, 0, 1] });
  const now = live(32, { 0: [5, 0, 9], 10: [5, 0, 9], 20: [9, 0, 9], 30: [2, 1, 9] });
  const both = merged(past, now);
  assert.deepEqual(both.times, [T0, T0 + 10, T0 + 20, T0 + 30]);
  assert.deepEqual(both.requests, [7, 8, 9, 2]);
  assert.deepEqual(both.p95, [1, 1, 9, 9]);
  assert.deepEqual(both.seconds, [10, 10, 10, 2]);
});

test("up to where history lacks events, live figures count", () => {
  const past = history(10, [0, 25], { 0: [7, 0, 1], 10: [1, 0, 1], 20: [0, 0, 1] }, at(10));
  const both = merged(past, live(25, { 0: [5, 0, 9], 10: [6, 0, 9], 20: [3, 0, 9] }));
  assert.deepEqual(both.requests, [7, 6, 3]);
});

test("a daemon that started within a bucket takes nothing from history", () => {
  const past = history(10, [0, 18], { 0: [7, 0, 1], 10: [8, 0, 1] });
  const both = merged(past, live(19, { 0: [0, 0, null], 10: [3, 0, 9] }));
  assert.deepEqual(both.requests, [7, 8]);
  assert.deepEqual(both.p95, [1, 1]);
});

test("no value changes when the next answer of history takes over from live figures", () => {
  const counted = { 0: [7, 0, 1], 10: [8, 0, 1], 20: [9, 0, 1], 30: [2, 0, 1] };
  const before = merged(history(10, [0, 12], { 0: counted[0], 10: [2, 0, 1] }), live(32, counted));
  const after = merged(history(10, [0, 31], counted), live(32, counted));
  assert.deepEqual(figures(after), figures(before));
});

test("live buckets are added up to history's longer ones, whose latencies they leave", () => {
  const past = history(60, [0, 80], { 0: [60, 6, 4], 60: [20, 0, 5] });
  const tens = Object.fromEntries(Array.from({ length: 13 }, (_, i) => [i * 10, [10, 1, 99]]));
  const both = merged(past, live(125, tens));
  assert.deepEqual(both.requests, [60, 60, 10]);
  assert.deepEqual(both.seconds, [60, 60, 5]);
  assert.deepEqual(both.p95, [4, 5, null]);
  assert.deepEqual(figures(both).rate, [1, 1, 2]);
});

test("a longer bucket that live figures have only in part is left out", () => {
  const tens = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [30 + i * 10, [10, 0, 1]]));
  assert.deepEqual(coarser(live(120, tens), 60).times, [T0 + 60]);
});

test("without history live figures stand alone, from the first request on", () => {
  const alone = merged(null, live(31, { 0: [0, 0, null], 10: [0, 0, null], 20: [5, 0, 3], 30: [0, 0, null] }));
  assert.deepEqual(alone.times, [T0 + 20, T0 + 30]);
  assert.equal(merged(null, null), null);
});

test("a live bucket that was not sent, since it is empty, is 0", () => {
  assert.deepEqual(live(35, { 0: [1, 0, 1], 10: [2, 0, 1] }).requests, [1, 2, 0, 0]);
  assert.equal(ofLive({ timestamp: at(1), overview: {} }), null);
});

test("a view's stretch ends now, unless it says when", () => {
  const now = (T0 + 900) * 1000;
  assert.deepEqual(domainOf({ range: "15m", from: null, to: null }, now), { from: T0, to: T0 + 900 });
  const free = { range: null, from: T0 * 1000, to: null };
  assert.deepEqual(domainOf(free, now), { from: T0, to: T0 + 900 });
  assert.deepEqual(domainOf({ ...free, to: (T0 + 60) * 1000 }, now), { from: T0, to: T0 + 60 });
});

test("zooming and panning keep the length, a minute at least, and never go beyond now", () => {
  const now = (T0 + 100) * 1000;
  assert.deepEqual(zoomed({ from: 100, to: 200 }, 0.5), { from: 125, to: 175 });
  assert.deepEqual(panned({ from: 100, to: 200 }, -1), { from: 75, to: 175 });
  const short = patchFor({ from: T0, to: T0 + 1 }, now);
  assert.equal(short.to - short.from, 60_000);
  const late = patchFor({ from: T0 + 50, to: T0 + 250 }, now);
  assert.deepEqual(late, { range: null, from: now - 200_000, to: now });
  assert.ok(isAtEnd({ from: T0, to: T0 + 99 }, now));
  assert.ok(!isAtEnd({ from: T0, to: T0 + 60 }, now));
});

test("history is asked again when a bucket is over, but not all the time", () => {
  const now = T0 * 1000 + 55_000;
  assert.equal(pauseBetween(10, true, now), 60_000);
  assert.equal(pauseBetween(10, false, now), 10_000);
  assert.equal(pauseBetween(60, true, now), 10_000);
  assert.equal(pauseBetween(60, true, now - 25_000), 31_000);
  assert.equal(pauseBetween(21_600, true, now), 60_000);
});

test("the top of an axis is round, and at or above the highest value", () => {
  for (const value of [0.003, 0.98, 1, 7.3, 9.9, 99, 12_345]) {
    assert.ok(roundedUp(value) >= value, String(value));
    assert.ok(roundedUp(value) <= value * 2, String(value));
  }
  assert.equal(roundedUp(0), 1);
  assert.equal(roundedUp(null), 1);
});

test("the nearest time is found, also beyond the ends", () => {
  assert.equal(nearest([], 5), null);
  assert.deepEqual([0, 14, 16, 99].map((time) => nearest([10, 20, 30], time)), [0, 0, 1, 2]);
});

test("alerts are marked for as long as they lasted, open ones until now", () => {
  const alert = (from, to, severity = "critical") => ({
    ruleName: "Errors\u202e", severity, triggeredAt: at(from), resolvedAt: to === null ? null : at(to),
  });
  const span = { from: T0 + 100, to: T0 + 200 };
  const alerts = [alert(0, 50), alert(90, 110), alert(150, null, "warning"), alert(300, null)];
  const marks = marksIn(alerts, span, (T0 + 180) * 1000);
  assert.deepEqual(marks.map(({ from, to }) => [from - T0, to - T0]), [[150, 180], [90, 110]]);
  assert.equal(labelAt(marks, T0 + 100), "■ Errors⟨U+202E⟩ (critical)");
  assert.equal(labelAt(marks, T0 + 130), "");
});

const HEAT = {
  data: {
    edges: [1, 10, 100, 1000, 10_000],
    buckets: [{ timestamp: at(0), counts: [0, 2, 0, 0] }, { timestamp: at(10), counts: [0, 5, 1, 0] }],
  },
  range: { bucketSeconds: 10 },
};

test("the heat map has no empty rows above and below", () => {
  const cells = cellsOf(HEAT);
  assert.deepEqual(cells.edges, [10, 100, 1000]);
  assert.deepEqual(cells.rows, [[2, 5], [0, 1]]);
  assert.equal(cells.most, 5);
  assert.equal(cells.total, 8);
  assert.deepEqual([5, 10, 99, 100, 5000].map((ms) => rowOf(cells, ms)), [0, 0, 0, 1, 1]);
  assert.deepEqual(densest(cells), { from: 10, to: 100, share: 87.5 });
});

test("a heat map without requests is empty", () => {
  const buckets = [{ timestamp: at(0), counts: [0, 0, 0, 0] }];
  const cells = cellsOf({ ...HEAT, data: { ...HEAT.data, buckets } });
  assert.deepEqual([cells.rows, cells.most, cells.total], [[], 0, 0]);
});

test("the heat map's axis is labelled at decades, at its ends where it spans less than two", () => {
  assert.deepEqual(ticksOf(0.099, 16_569), [0.1, 1, 10, 100, 1_000, 10_000]);
  assert.deepEqual(ticksOf(93.002, 1_000), [100, 1_000]);
  assert.deepEqual(ticksOf(1.236, 2.54), [1.236, 2.54]);
  assert.deepEqual(ticksOf(7.482, 15.372), [7.482, 15.372]);
});

test("the heat map's colours only grow lighter, or darker on a light page", () => {
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/\d+/g).map((v) => ((Number(v) / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  for (const isDark of [true, false]) {
    const steps = scale(isDark).map(luminance);
    for (const [i, step] of steps.slice(1).entries()) assert.equal(step > steps[i], isDark, `${i}`);
  }
});

test("one request is the faintest colour, the most the fullest, none has no colour", () => {
  assert.equal(placeOf(0, 100), -1);
  assert.equal(placeOf(1, 100), 0);
  assert.equal(placeOf(100, 100), 63);
  assert.equal(placeOf(1, 1), 63);
  assert.ok(placeOf(10, 100) > placeOf(5, 100));
});
