// The plots over time.

export function startPlots() {}
