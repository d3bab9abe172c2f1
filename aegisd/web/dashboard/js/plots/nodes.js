// The node picker: shown where several daemons write to the database.

export function startNodes() {}
