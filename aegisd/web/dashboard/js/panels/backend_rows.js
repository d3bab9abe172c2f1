// Backends as rows: what they report, and what requests that name them show.

const NOTABLE_ERROR_PERCENT = 5; // as the rule that every configuration starts with

/** How bad a row is, the worst first: 0 needs somebody, 3 is well. */
function concern({ status, circuitBreaker, errorRate }) {
  if (status === "unhealthy") return 0;
  if (circuitBreaker === "open") return 1;
  if (circuitBreaker === "half_open" || errorRate >= NOTABLE_ERROR_PERCENT) return 2;
  return 3;
}

/** The filters of the list, by name. */
export const FILTERS = {
  all: () => true,
  troubled: (row) => concern(row) < 3,
  healthy: ({ status }) => status === "healthy",
  observed: ({ status }) => status === "observed",
};

/** Rows of the data of api/metrics/backends, by name and with the worst first.
 *
 * A backend that only requests name has the status "observed": nobody reports its health.
 */
export function backendRows({ backends, observed = [] }) {
  const rows = new Map();
  for (const { lastSeen, ...seen } of observed) {
    rows.set(seen.name, { ...seen, status: "observed", circuitBreaker: null, lastSeen });
  }
  for (const backend of backends) rows.set(backend.name, { ...rows.get(backend.name), ...backend });
  return [...rows.values()].sort(
    (a, b) => concern(a) - concern(b) || a.name.localeCompare(b.name),
  );
}

/** "2 unhealthy, 1 observed, 297 healthy": how many there are of each status. */
export function summary(rows) {
  const number = (status) => rows.filter((row) => row.status === status).length;
  return ["unhealthy", "observed", "healthy"]
    .map((status) => [number(status), status])
    .filter(([n]) => n > 0)
    .map(([n, status]) => `${n} ${status}`)
    .join(", ");
}
