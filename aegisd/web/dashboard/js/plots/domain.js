// Which stretch of time the plots show, in seconds since 1970, and how it is moved. Pure.

import { viewedSpan } from "../panels/span.js";

const SHORTEST = 60; // s: a plot's finest buckets are of 10 s
const STEP = 0.25; // of the stretch, that panning moves by
const FOLLOWS_MS = 5_000; // a stretch that would end so near to now goes on

/** The stretch { from, to } of a view; now is in ms since 1970. */
export function domainOf(view, now) {
  const span = viewedSpan(view, now);
  return { from: span.from / 1000, to: span.to / 1000 };
}

/** The view's patch that shows a stretch (s), never beyond now (ms). */
export function patchFor({ from, to }, now) {
  const length = Math.max(to - from, SHORTEST);
  const middle = (from + to) / 2;
  const end = Math.min(Math.round((middle + length / 2) * 1000), Math.floor(now));
  return { range: null, from: Math.max(0, end - Math.round(length * 1000)), to: end };
}

/** Half or twice as much time, around its middle. */
export function zoomed({ from, to }, factor) {
  const middle = (from + to) / 2;
  const half = ((to - from) / 2) * factor;
  return { from: middle - half, to: middle + half };
}

/** The next stretch: -1 is earlier, 1 later. */
export function panned({ from, to }, direction) {
  const by = direction * STEP * (to - from);
  return { from: from + by, to: to + by };
}

/** Whether the view ends now. */
export const follows = (view) => view.to === null;

/** Whether nothing later can be shown. */
export const isAtEnd = ({ to }, now) => to * 1000 >= now - FOLLOWS_MS;

/** How long to wait before history is asked again (ms): until the bucket's end, within bounds. */
export function pauseBetween(bucketSeconds, isLive, now) {
  const [least, most] = [10_000, 60_000];
  if (bucketSeconds <= 10) return isLive ? most : least; // live figures have the same buckets
  if (!isLive) return least;
  const bucket = bucketSeconds * 1000;
  const left = Math.ceil(now / bucket) * bucket - now;
  return Math.min(Math.max(left + 1_000, least), most);
}

/** A round number at or above a plot's highest value, so that its axis seldom changes. */
export function roundedUp(value) {
  if (!(value > 0)) return 1;
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * size >= value * 1.02) * size || 15 * size;
}

/** The index of the time that is nearest to a time; null where there is none. times are ascending. */
export function nearest(times, time) {
  if (times.length === 0) return null;
  const after = times.findIndex((one) => one >= time);
  if (after < 0) return times.length - 1;
  return after > 0 && time - times[after - 1] < times[after] - time ? after - 1 : after;
}
