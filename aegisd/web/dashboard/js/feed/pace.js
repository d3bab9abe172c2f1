// When to try again, and when to take a silent connection for dead.

const FIRST_MS = 1_000;

/** The longest pause between two attempts. */
export const MOST_MS = 30_000;

/** Silent for this long: the daemon is asked for a pong. */
export const ASK_MS = 4_000;

/** Still silent this long after its last word: the connection is dead. */
export const DEAD_MS = 10_000;

const ANSWER_MS = DEAD_MS - ASK_MS - 1_000; // ticks come each second

/** The pause before the next attempt; random (0 to 1) so that not all pages come at once. */
export function pauseAfter(failures, random) {
  const pause = Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(failures, 10));
  return pause * (0.5 + random / 2);
}

/** "wait", "ask" or "dead": what silence since heardAt means; askedAt is 0 where nobody asked.
 *
 * The update interval may be longer than our patience, and timers stand still while the machine
 * sleeps: so silence counts only once we asked and gave it time to answer.
 */
export function judge(now, heardAt, askedAt) {
  if (now - heardAt < ASK_MS) return "wait";
  if (!askedAt) return "ask";
  return now - heardAt >= DEAD_MS && now - askedAt >= ANSWER_MS ? "dead" : "wait";
}
