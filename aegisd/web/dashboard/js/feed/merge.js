// What a metrics message changes in the figures that are known already.

/** Live series cover this much before their newest bucket. */
export const SERIES_MS = 15 * 60_000;

const SERIES = new Set(["requestRate", "latencyPercentiles", "statusDistribution"]);

/** A series with the changed buckets in it, oldest first, without what is older than SERIES_MS. */
export function mergeSeries(known, changed) {
  const buckets = new Map(known.map((bucket) => [Date.parse(bucket.timestamp), bucket]));
  for (const bucket of changed) buckets.set(Date.parse(bucket.timestamp), bucket);
  const oldest = Math.max(...buckets.keys()) - SERIES_MS;
  return [...buckets]
    .filter(([start]) => start > oldest)
    .sort(([a], [b]) => a - b)
    .map(([, bucket]) => bucket);
}

/** All figures after a message; a topic that it leaves out has not changed. */
export function mergeMetrics(known, message) {
  const merged = { ...known, ...message.data, timestamp: message.timestamp };
  if (!message.delta) return merged;
  for (const topic of SERIES) {
    const changed = message.data[topic];
    if (changed) merged[topic] = mergeSeries(known[topic] ?? [], changed);
  }
  return merged;
}
