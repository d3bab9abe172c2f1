// Why there is no WebSocket, in words: from what its address answers to a plain request.

/** The states of a connection whose WebSocket can't be had, each with what to show. */
export const TURNED_OFF = {
  state: "polling",
  reason: "The live connection is turned off in the daemon's configuration.",
};
export const UNREACHABLE = { state: "lost", reason: "The daemon can't be reached." };

const GATEWAY = new Set([502, 503, 504]);

/** { state, reason } by the answer's status, its error code and Retry-After (s, or null). */
export function whyNot({ status, code, retryAfter }) {
  if (status === 401) return { state: "unauthorized", reason: "You are not logged in." };
  if (code === "forbidden_origin") return polling(
    "The daemon takes no live connection from this page's address: add it to" +
      " dashboard.websocket.allowed_origins, or the proxy to http.trusted_proxies.",
  );
  if (status === 403) return polling("A proxy forbids the live connection.");
  if (status === 421) return polling(
    "The daemon doesn't know this page's host name: add it to http.allowed_hosts.",
  );
  if (status === 426) return polling(
    "A proxy between this page and the daemon doesn't pass WebSocket on.",
  );
  if (status === 429) return polling(
    "Too many live connections from your address: close other pages" +
      (retryAfter ? `, or wait ${retryAfter} s.` : "."),
  );
  if (status === 0) return UNREACHABLE;
  if (GATEWAY.has(status)) {
    return { state: "lost", reason: `A proxy can't reach the daemon (${status}).` };
  }
  return polling(`The live connection's address answers ${status} instead of a WebSocket.`);
}

function polling(reason) {
  return { state: "polling", reason };
}
