import assert from "node:assert/strict";
import { test } from "node:test";

import { arrange, inWords, loaded, numbers } from "../../../aegisd/web/dashboard/js/panels/alert_list.js";
import { backendRows, FILTERS, summary } from "../../../aegisd/web/dashboard/js/panels/backend_rows.js";
import { findings, reasons, received } from "../../../aegisd/web/dashboard/js/panels/ingest_health.js";
import { matches, nextSort, parseSort, sorted } from "../../../aegisd/web/dashboard/js/panels/ranking.js";
import { viewedSpan } from "../../../aegisd/web/dashboard/js/panels/span.js";

const NOW = Date.parse("2026-01-01T12:00:00Z");
const MINUTE = 60_000;
const ago = (minutes) => new Date(NOW - minutes * MINUTE).toISOString();

// --- ranking ---

test("a sort names its key, and whether the largest come first", () => {
  assert.deepEqual(parseSort("-p95", ["p95", "path"], "path"), { key: "p95", descending: true });
  assert.deepEqual(parseSort("path", ["p95", "path"], "-p95"), { key: "path", descending: false });
});

test("a sort by nothing known, as a link may have it, is the usual one", () => {
  for (const wrong of [null, "", "-", "--p95", "constructor", "p95;drop"]) {
    assert.deepEqual(parseSort(wrong, ["p95"], "-p95"), { key: "p95", descending: true });
  }
});

test("a column's first click brings large figures and early names, the second turns round", () => {
  assert.equal(nextSort({ key: "path", descending: false }, "p95", true), "-p95");
  assert.equal(nextSort({ key: "p95", descending: true }, "p95", true), "p95");
  assert.equal(nextSort({ key: "p95", descending: true }, "path", false), "path");
});

test("figures that are not known come last both ways", () => {
  const items = [{ p95: 2 }, { p95: null }, { p95: 10 }];
  assert.deepEqual(sorted(items, { key: "p95", descending: true }).map((i) => i.p95), [10, 2, null]);
  assert.deepEqual(sorted(items, { key: "p95", descending: false }).map((i) => i.p95), [2, 10, null]);
});

test("a search takes words in any order and case", () => {
  assert.ok(matches("GET /Users/{id}", "users get"));
  assert.ok(matches("GET /", null));
  assert.ok(!matches("GET /users", "users post"));
});

// --- backends ---

const backend = (name, status = "healthy", circuitBreaker = "closed") => ({
  name,
  status,
  responseTimeMs: 1,
  circuitBreaker,
  lastSeen: ago(1),
});
const seen = (name, errorRate = 0) => ({
  name,
  requestCount: 10,
  errorRate,
  avgLatency: 1,
  p95Latency: 2,
  lastSeen: ago(9),
});

test("a backend that reports and is named by requests is one row with both", () => {
  const [row, ...others] = backendRows({ backends: [backend("a")], observed: [seen("a")] });
  assert.deepEqual(others, []);
  assert.equal(row.status, "healthy");
  assert.equal(row.requestCount, 10);
  assert.equal(row.lastSeen, ago(1));
});

test("a backend that only requests name is observed", () => {
  const [row] = backendRows({ backends: [], observed: [seen("a")] });
  assert.equal(row.status, "observed");
  assert.equal(row.circuitBreaker, null);
});

test("a daemon that tells of no observed backends shows those that report", () => {
  assert.equal(backendRows({ backends: [backend("a")] }).length, 1);
});

test("the worst come first: unhealthy, breaker open, half open or failing, then by name", () => {
  const rows = backendRows({
    backends: [backend("e"), backend("d", "healthy", "half_open"), backend("b", "healthy", "open"), backend("c", "unhealthy")],
    observed: [seen("f", 50), seen("a")],
  });
  assert.deepEqual(rows.map(({ name }) => name), ["c", "b", "d", "f", "a", "e"]);
  assert.deepEqual(rows.filter(FILTERS.troubled).map(({ name }) => name), ["c", "b", "d", "f"]);
  assert.equal(summary(rows), "1 unhealthy, 2 observed, 3 healthy");
});

test("a backend named like a property of objects is a backend", () => {
  const rows = backendRows({ backends: [backend("__proto__"), backend("constructor")], observed: [] });
  assert.deepEqual(rows.map(({ name }) => name), ["__proto__", "constructor"]);
});

// --- alerts ---

const alert = (id, status, triggered, resolved = null) => ({
  id,
  status,
  triggeredAt: ago(triggered),
  resolvedAt: resolved === null ? null : ago(resolved),
});
const mapOf = (...alerts) => new Map(alerts.map((one) => [one.id, one]));
const HOUR = { from: NOW - 60 * MINUTE, to: NOW };
const ids = (alerts) => alerts.map(({ id }) => id);

test("active alerts come before acknowledged ones, the newest first, however old they are", () => {
  const alerts = mapOf(alert("old", "active", 9000), alert("taken", "acknowledged", 1), alert("new", "active", 5));
  const { open, past } = arrange(alerts, HOUR, { most: 10, beyondRange: false });
  assert.deepEqual(ids(open), ["new", "old", "taken"]);
  assert.deepEqual(past, []);
});

test("the past holds what was open in the range, and says that there is older", () => {
  const alerts = mapOf(alert("in", "resolved", 30, 20), alert("ends in it", "resolved", 90, 50), alert("before", "resolved", 90, 70));
  const shown = arrange(alerts, HOUR, { most: 10, beyondRange: false });
  assert.deepEqual(ids(shown.past), ["in", "ends in it"]);
  assert.equal(shown.older, true);
  const all = arrange(alerts, HOUR, { most: 20, beyondRange: true });
  assert.deepEqual(ids(all.past), ["in", "ends in it", "before"]);
  assert.equal(all.older, false);
});

test("more of the past than a page is cut", () => {
  const alerts = mapOf(alert("a", "resolved", 1, 0), alert("b", "resolved", 2, 1));
  const { past, older } = arrange(alerts, HOUR, { most: 1, beyondRange: false });
  assert.deepEqual([ids(past), older], [["a"], true]);
});

test("what was pushed since the question is newer than its answer", () => {
  const pushed = mapOf(alert("a", "resolved", 1, 0));
  const alerts = loaded([[alert("a", "active", 1)], [alert("b", "active", 2)]], pushed);
  assert.equal(alerts.get("a").status, "resolved");
  assert.deepEqual(numbers(alerts), { active: 1, acknowledged: 0 });
});

test("numbers in words name acknowledged alerts only where there are some", () => {
  assert.equal(inWords({ active: 0, acknowledged: 0 }), "0 active");
  assert.equal(inWords({ active: 2, acknowledged: 1 }), "2 active, 1 acknowledged");
});

// --- ingest ---

const WELL = {
  ingest: {
    listeners: [{ address: "udp", kernelDropped: 0 }, { address: "unix", kernelDropped: null }],
    events: { request: 3, backend: 1 },
    rejected: { malformed: 0 },
    dropped: { queue: 0, journal: 0, database: 0 },
    sources: [{ source: "a", received: 4, lost: 0 }],
  },
  status: { database: { connected: true, lagSeconds: 0.2 }, degradations: [] },
};

test("nothing is found where all is well", () => {
  assert.deepEqual(findings(WELL.ingest, WELL.status), []);
  assert.equal(received(WELL.ingest), "4 events by 2 listeners");
});

test("what fails now comes before losses since the start, and rejects come last", () => {
  const ingest = {
    ...WELL.ingest,
    rejected: { malformed: 2, oversize: 5, bad_type: 0 },
    dropped: { queue: 0, journal: 7, database: 0 },
    sources: [{ source: "a", received: 4, lost: 3 }],
    listeners: [{ address: "udp", kernelDropped: 9 }],
  };
  const status = { database: { connected: false, lagSeconds: 61 }, degradations: ["the disk is full"] };
  const found = findings(ingest, status);
  assert.deepEqual(found.map(({ tone }) => tone), ["bad", "bad", "warning", "warning", "warning", "info"]);
  assert.match(found[0].text, /disk is full/);
  assert.match(found[1].text, /61 s behind/);
  assert.match(found[2].text, /7 dropped at the journal/);
  assert.deepEqual(reasons(ingest), [{ reason: "oversize", number: 5 }, { reason: "malformed", number: 2 }]);
});

test("a database that is away is told also where no degradation says it", () => {
  const status = { database: { connected: false, lagSeconds: 0 }, degradations: [] };
  assert.match(findings(WELL.ingest, status)[0].text, /away/);
});

// --- span ---

test("a named range ends now, from and to are what they are", () => {
  const view = { range: "6h", from: null, to: null };
  assert.deepEqual(viewedSpan(view, NOW), { from: NOW - 360 * MINUTE, to: NOW });
  assert.deepEqual(viewedSpan({ range: null, from: 1, to: 2 }, NOW), { from: 1, to: 2 });
  assert.deepEqual(viewedSpan({ range: null, from: 1, to: null }, NOW), { from: 1, to: NOW });
});
