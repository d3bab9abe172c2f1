// What the plots ask the API for.

import { ofHistory } from "./series.js";

/** The columns of a range, node and endpoint. Raises ApiError. */
export async function askSeries(api, params, signal) {
  const paths = ["request-rate", "latency", "status-distribution"];
  const answers = await Promise.all(paths.map((path) => api.get(`api/metrics/${path}`, params, signal)));
  return ofHistory(...answers);
}
