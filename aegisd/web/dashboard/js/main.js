// The only wiring: makes what the parts share, and starts each part.

import { createApi } from "./api.js";
import { createFeed } from "./feed.js";
import { startNodes } from "./plots/nodes.js";
import { startPlots } from "./plots/plots.js";
import { startRanges } from "./plots/ranges.js";
import { createView } from "./view.js";

const view = createView(window);
const api = createApi(document.baseURI);
const feed = createFeed(document.baseURI, api);
const page = { view, api, feed };

for (const start of [startRanges, startNodes, startPlots]) start(page);
feed.start();
