// The range picker.

export function startRanges() {}
