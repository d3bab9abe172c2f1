// Who looks at the page. Where the daemon has no tokens there is nobody to log in.

const NOBODY = { authentication: true, name: null, role: null };

/** Makes the session over the API; get() is { authentication, name, role, isKnown, in, admin }.
 *
 * in says whether figures may be asked for; isKnown, whether the daemon has said who this is.
 * onChange(f): f(get()) after each change.
 */
export function createSession(plain) {
  const listeners = new Set();
  let current = { ...describe(NOBODY), isKnown: false };

  function become(next) {
    if (JSON.stringify(describe(next)) === JSON.stringify(current)) return;
    current = describe(next);
    for (const listener of listeners) listener(current);
  }

  // Any answer may tell that the session has ended: an ended session shows itself in all parts.
  const watched = (ask) => (...given) =>
    ask(...given).catch((error) => {
      if (error.status === 401) become(NOBODY);
      throw error;
    });

  return {
    /** The API for all other parts: what it refuses for want of a login ends the session. */
    api: Object.fromEntries(Object.entries(plain).map(([name, ask]) => [name, watched(ask)])),

    get: () => current,

    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },

    /** Asks the daemon who this is. Raises ApiError. */
    async load() {
      become((await plain.get("api/session")).data);
    },

    /** Raises ApiError: 401 for a wrong token, 429 after too many of them. */
    async login(token) {
      become((await plain.post("api/session", { token })).data);
    },

    /** Ends all asking first, then the session. Raises ApiError. */
    async logout() {
      become(NOBODY);
      await plain.delete("api/session");
    },
  };
}

function describe({ authentication, name, role }) {
  return {
    authentication,
    name,
    role,
    isKnown: true,
    in: !authentication || role !== null,
    admin: role === "admin",
  };
}
