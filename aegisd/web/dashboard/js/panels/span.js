// The span of time that a view shows.

const UNITS_MS = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** { from, to } of a view in ms since 1970; a range that goes on ends now. */
export function viewedSpan({ range, from, to }, now) {
  if (from !== null) return { from, to: to ?? now };
  return { from: now - Number.parseInt(range, 10) * UNITS_MS[range.at(-1)], to: now };
}
