// The API by HTTP, at addresses relative to the page's own.

/** An answer that is not a success. status is 0 where there was no answer at all. */
export class ApiError extends Error {
  constructor(status, code, message, retryAfter = null) {
    super(message);
    Object.assign(this, { name: "ApiError", status, code, retryAfter });
  }
}

/** Makes the API of the page at base. retryAfter of its errors is in seconds, or null. */
export function createApi(base, fetch = globalThis.fetch.bind(globalThis)) {
  async function ask(method, path, params, body, signal) {
    const url = new URL(path, base);
    for (const [key, value] of Object.entries(params ?? {})) {
      if (value !== null && value !== undefined) url.searchParams.set(key, value);
    }
    const headers = { Accept: "application/json" };
    if (method !== "GET") headers["Content-Type"] = "application/json";
    // A GET has no Origin. The Referer says the same where the WebSocket's path is asked why not.
    const referrerPolicy = "origin";
    const options = { method, headers, signal, credentials: "same-origin", referrerPolicy };
    if (body !== undefined) options.body = JSON.stringify(body);
    let response;
    try {
      response = await fetch(url, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, "unreachable", "the daemon can't be reached");
    }
    return read(response);
  }

  return {
    /** The whole answer: { data, range? }. Raises ApiError; AbortError where signal aborts it. */
    get: (path, params, signal) => ask("GET", path, params, undefined, signal),
    post: (path, body = {}, signal) => ask("POST", path, null, body, signal),
    put: (path, body = {}, signal) => ask("PUT", path, null, body, signal),
    delete: (path, body, signal) => ask("DELETE", path, null, body, signal),
  };
}

async function read(response) {
  const answer = await response.json().catch(() => null);
  if (response.ok && answer?.success) return answer;
  // A proxy's error page is no envelope: its status is all there is.
  const { code = "http", message = `HTTP ${response.status}` } = answer?.error ?? {};
  const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  const retryAfter = Number.isNaN(seconds) ? null : seconds;
  throw new ApiError(response.ok ? 0 : response.status, code, message, retryAfter);
}
