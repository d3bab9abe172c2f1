// The only wiring: makes what the parts share, and starts each part once somebody may see it.

import { createApi } from "./api.js";
import { createFeed } from "./feed.js";
import { startAges } from "./panels/ages.js";
import { startAlerts } from "./panels/alerts.js";
import { startBackends } from "./panels/backends.js";
import { startConnection } from "./panels/connection.js";
import { startEndpoints } from "./panels/endpoints.js";
import { startIngest } from "./panels/ingest.js";
import { findOutWho, startLogin } from "./panels/login.js";
import { startOverview } from "./panels/overview.js";
import { startRateLimits } from "./panels/rate_limits.js";
import { startPlots } from "./plots/plots.js";
import { startRanges } from "./plots/ranges.js";
import { createSession } from "./session.js";
import { startTheme } from "./theme.js";
import { createView } from "./view.js";

const PARTS = [
  startAges, startConnection, startRanges, startOverview, startPlots, startEndpoints, startAlerts,
  startBackends, startRateLimits, startIngest,
];

startTheme();
const view = createView(window);
const session = createSession(createApi(document.baseURI));
const { api } = session;
const websocketPath = document.querySelector("meta[name=aegisd-websocket]").content;
const feed = createFeed(document.baseURI, websocketPath, api);
let parts = PARTS; // that have not started

session.onChange((now) => {
  if (!now.in) return feed.stop();
  for (const start of parts) start({ view, api, feed, session });
  if (parts.length > 0) feed.watch(window);
  parts = [];
  feed.start();
});
startLogin({ session });
findOutWho(session);
