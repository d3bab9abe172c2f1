import assert from "node:assert/strict";
import { test } from "node:test";

import { mergeMetrics, mergeSeries } from "../../../aegisd/web/dashboard/js/feed/merge.js";
import { judge, MOST_MS, pauseAfter } from "../../../aegisd/web/dashboard/js/feed/pace.js";
import { whyNot } from "../../../aegisd/web/dashboard/js/feed/reason.js";

const at = (seconds) => new Date(1_700_000_000_000 + seconds * 1000).toISOString();
const bucket = (seconds, value) => ({ timestamp: at(seconds), value });

test("a changed bucket takes the place of the known one, a new one comes last", () => {
  const merged = mergeSeries([bucket(0, 1), bucket(10, 2)], [bucket(20, 3), bucket(10, 9)]);
  assert.deepEqual(merged, [bucket(0, 1), bucket(10, 9), bucket(20, 3)]);
});

test("buckets older than fifteen minutes before the newest are dropped", () => {
  const merged = mergeSeries([bucket(0, 1), bucket(10, 2)], [bucket(900, 3)]);
  assert.deepEqual(merged, [bucket(10, 2), bucket(900, 3)]);
});

test("no bucket at all stays none", () => {
  assert.deepEqual(mergeSeries([], []), []);
});

test("a delta keeps topics that it leaves out, and merges series only", () => {
  const known = { overview: { a: 1 }, topEndpoints: [1, 2], requestRate: [bucket(0, 1)] };
  const data = { requestRate: [bucket(10, 2)], topEndpoints: [3] };
  const merged = mergeMetrics(known, { delta: true, timestamp: at(12), data });
  assert.deepEqual(merged, {
    timestamp: at(12),
    overview: { a: 1 },
    topEndpoints: [3],
    requestRate: [bucket(0, 1), bucket(10, 2)],
  });
});

test("a whole message replaces series: the daemon may have started anew", () => {
  const merged = mergeMetrics(
    { requestRate: [bucket(0, 1)] },
    { timestamp: at(12), data: { requestRate: [bucket(10, 2)] } },
  );
  assert.deepEqual(merged.requestRate, [bucket(10, 2)]);
});

test("pauses double up to the longest, and are shortened by half at most", () => {
  assert.equal(pauseAfter(0, 1), 1000);
  assert.equal(pauseAfter(0, 0), 500);
  assert.equal(pauseAfter(3, 1), 8000);
  assert.equal(pauseAfter(10_000, 1), MOST_MS);
});

test("silence is asked about first, and dead only when the question stays unanswered", () => {
  assert.equal(judge(3_999, 0, 0), "wait");
  assert.equal(judge(4_000, 0, 0), "ask");
  assert.equal(judge(9_000, 0, 4_000), "wait");
  assert.equal(judge(10_000, 0, 4_000), "dead");
});

test("a machine that slept asks before it gives a connection up", () => {
  assert.equal(judge(3_600_000, 1_000, 0), "ask");
  assert.equal(judge(3_601_000, 1_000, 3_600_000), "wait");
});

const REASONS = [
  [{ status: 426, code: "upgrade_required" }, "polling", /proxy .* doesn't pass WebSocket on/],
  [{ status: 403, code: "forbidden_origin" }, "polling", /allowed_origins/],
  [{ status: 403, code: "http" }, "polling", /proxy forbids/],
  [{ status: 421, code: "misdirected" }, "polling", /allowed_hosts/],
  [{ status: 429, code: "too_many_connections", retryAfter: 7 }, "polling", /wait 7 s/],
  [{ status: 429, code: "too_many_connections", retryAfter: null }, "polling", /other pages\./],
  [{ status: 401, code: "unauthorized" }, "unauthorized", /not logged in/],
  [{ status: 502, code: "http" }, "lost", /proxy can't reach the daemon \(502\)/],
  [{ status: 0, code: "unreachable" }, "lost", /can't be reached/],
  [{ status: 404, code: "not_found" }, "polling", /answers 404/],
];

for (const [answer, state, words] of REASONS) {
  test(`a plain request's ${answer.status} ${answer.code} means ${state}, in words`, () => {
    const why = whyNot(answer);
    assert.equal(why.state, state);
    assert.match(why.reason, words);
  });
}
