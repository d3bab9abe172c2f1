// The latency heat map's figures: time × duration, counted. Pure.
//
// Cells are { times, bucket, edges, rows, most, total }: edges are in ms, rows[r][t] counts the
// durations between edges r and r + 1 in the bucket that begins at times[t] (s since 1970).

/** The cells of an answer { data: { edges, buckets }, range }, without empty rows above and below. */
export function cellsOf({ data: { edges, buckets }, range }) {
  const used = edges.slice(1).map((_, row) => buckets.some(({ counts }) => counts[row] > 0));
  const [first, last] = [used.indexOf(true), used.lastIndexOf(true)];
  const rows = [];
  for (let row = Math.max(first, 0); row <= last; row++) rows.push(buckets.map(({ counts }) => counts[row]));
  const flat = rows.flat();
  return {
    times: buckets.map(({ timestamp }) => Date.parse(timestamp) / 1000),
    bucket: range.bucketSeconds,
    edges: first < 0 ? [1, 1000] : edges.slice(first, last + 2),
    rows,
    most: flat.reduce((a, b) => Math.max(a, b), 0),
    total: flat.reduce((a, b) => a + b, 0),
  };
}

/** The row that a duration (ms) lies in; the ends take what is beyond them. */
export function rowOf({ edges, rows }, duration) {
  const above = edges.findIndex((edge) => edge > duration);
  return Math.min(Math.max((above < 0 ? edges.length : above) - 1, 0), rows.length - 1);
}

/** Where the axis of durations (ms) has labels: at decades; at its ends, where it has but one or none.
 *
 * uPlot's own splits of such an axis never end where it begins just below a decade.
 */
export function ticksOf(low, high) {
  const [first, last] = [Math.ceil(Math.log10(low)), Math.floor(Math.log10(high))];
  if (last - first < 1) return [low, high];
  return Array.from({ length: last - first + 1 }, (_, i) => Number(`1e${first + i}`));
}

/** The row that has most durations of all: { from, to, share } with its edges and percentage. */
export function densest({ edges, rows, total }) {
  const sums = rows.map((row) => row.reduce((a, b) => a + b, 0));
  const row = sums.indexOf(Math.max(...sums));
  return { from: edges[row], to: edges[row + 1], share: (100 * sums[row]) / total };
}
