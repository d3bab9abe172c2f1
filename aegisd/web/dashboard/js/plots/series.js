// What was counted over time, as columns; live counts laid over those of history. Pure.
//
// Columns are { bucket, end, complete, times, seconds, requests, failed, s2xx, s3xx, s4xx, s5xx, other,
// p50, p95, p99 }. bucket is the buckets' length, times where each begins, seconds how much of each
// there is so far, end where the last one ends so far, complete up to when everything is counted;
// times are in s since 1970, ascending. Latencies are in ms, null where no request had one.

const STATUSES = {
  s2xx: "status2xx",
  s3xx: "status3xx",
  s4xx: "status4xx",
  s5xx: "status5xx",
  other: "statusOther",
};
const LATENCIES = ["p50", "p95", "p99"];
const SHORTEST = 0.001; // s, of a bucket that has only begun
const COUNTS = ["requests", "failed", ...Object.keys(STATUSES)];
const COLUMNS = ["times", "seconds", ...COUNTS, ...LATENCIES];

/** Columns of the API's three answers about one range, each { data, range }. */
export function ofHistory(rates, latencies, statuses) {
  const { from, to, bucketSeconds, completeUntil } = rates.range;
  const [start, end] = [toSeconds(from), toSeconds(to)];
  const complete = completeUntil === null ? end : Math.min(end, toSeconds(completeUntil));
  const times = rates.data.map(({ timestamp }) => toSeconds(timestamp));
  const span = { bucket: bucketSeconds, start, end, complete };
  return columns(span, times, rates.data, latencies.data, statuses.data);
}

/** Columns of a metrics message of the feed; null where it has no series (yet).
 *
 * The daemon need not send a bucket without requests: it is there all the same.
 */
export function ofLive({ timestamp, requestRate, latencyPercentiles, statusDistribution }) {
  if (!(requestRate?.length > 1) || !latencyPercentiles || !statusDistribution) return null;
  const [start, second] = requestRate.map((point) => toSeconds(point.timestamp));
  const [bucket, end] = [second - start, toSeconds(timestamp)];
  const times = [];
  for (let time = start; time < end; time += bucket) times.push(time);
  const span = { bucket, start, end, complete: end };
  return columns(span, times, requestRate, latencyPercentiles, statusDistribution);
}

/** History with live columns laid over it; either may be null.
 *
 * Both count the same requests in the same buckets. History wins where a bucket was over and complete
 * when it was asked; beyond, whichever has more: the daemon may have started within the bucket.
 */
export function merged(history, live) {
  if (live === null) return history;
  if (history === null) return sinceFirstRequest(live);
  const same = live.bucket === history.bucket;
  const newer = same ? live : coarser(live, history.bucket);
  const result = copyOf(history);
  result.end = Math.max(history.end, live.end);
  const places = new Map(history.times.map((time, i) => [time, i]));
  for (const [i, time] of newer.times.entries()) {
    let place = places.get(time);
    if (place === undefined) {
      if (time < (result.times.at(-1) ?? 0)) continue; // before the range
      place = result.times.push(time) - 1;
      for (const key of LATENCIES) result[key][place] = null;
    } else {
      const over = time + history.bucket <= history.complete;
      if (over || newer.requests[i] < history.requests[place]) continue;
    }
    for (const key of ["seconds", ...COUNTS]) result[key][place] = newer[key][i];
    // Percentiles can't be added up: a longer bucket keeps what history says of it.
    if (same) for (const key of LATENCIES) result[key][place] = newer[key][i];
  }
  return result;
}

/** Live columns added up to longer buckets, of those that it has from their beginning. No latencies. */
export function coarser(live, bucket) {
  const result = { bucket, end: live.end, complete: live.complete };
  for (const key of COLUMNS) result[key] = [];
  const first = Math.ceil(live.times[0] / bucket) * bucket;
  for (const [i, time] of live.times.entries()) {
    if (time < first) continue;
    const own = Math.floor(time / bucket) * bucket;
    if (own !== result.times.at(-1)) {
      result.times.push(own);
      for (const key of ["seconds", ...COUNTS]) result[key].push(0);
    }
    const place = result.times.length - 1;
    for (const key of ["seconds", ...COUNTS]) result[key][place] += live[key][i];
  }
  return result;
}

/** What the plots show, as columns: per second, in percent (errors), in ms (p50, p95, p99). */
export function figures(columns) {
  const rate = (key) => columns[key].map((count, i) => count / columns.seconds[i]);
  const { times, requests, failed, p50, p95, p99 } = columns;
  const errors = requests.map((count, i) => (count === 0 ? null : (100 * failed[i]) / count));
  const statuses = Object.keys(STATUSES).map((key) => [key, rate(key)]);
  return { times, rate: rate("requests"), errors, p50, p95, p99, ...Object.fromEntries(statuses) };
}

/** From the first request on: a daemon's memory is empty at its start, and that is no figure. */
function sinceFirstRequest(live) {
  const first = live.requests.findIndex((count) => count > 0);
  return copyOf(live, Math.max(first, 0));
}

function copyOf(columns, first = 0) {
  const copies = COLUMNS.map((key) => [key, columns[key].slice(first)]);
  return { ...columns, ...Object.fromEntries(copies) };
}

function columns({ bucket, start, end, complete }, times, rates, latencies, statuses) {
  const made = { bucket, end, complete };
  for (const key of COLUMNS) made[key] = [];
  const byTime = (points) => new Map(points.map((point) => [toSeconds(point.timestamp), point]));
  const [rateAt, latencyAt, statusAt] = [rates, latencies, statuses].map(byTime);
  for (const time of times) {
    made.times.push(time);
    // The range may begin within its first bucket; the last one is still filling.
    const length = Math.min(time + bucket, end) - Math.max(time, start);
    made.seconds.push(Math.max(length, SHORTEST));
    made.requests.push(rateAt.get(time)?.requestCount ?? 0);
    made.failed.push(rateAt.get(time)?.failedCount ?? 0);
    for (const key of LATENCIES) made[key].push(latencyAt.get(time)?.[key] ?? null);
    for (const [key, name] of Object.entries(STATUSES)) made[key].push(statusAt.get(time)?.[name] ?? 0);
  }
  return made;
}

const toSeconds = (timestamp) => Date.parse(timestamp) / 1000;
