// A statsd backend that keeps the totals of what statsd read in a file, whole at any moment.
"use strict";
const fs = require("node:fs");

exports.init = function init(startup, config, events) {
  const totals = { lines: 0, bad: 0 };
  events.on("flush", (time, { counters }) => {
    totals.lines += counters["statsd.metrics_received"];
    totals.bad += counters["statsd.bad_lines_seen"];
    fs.writeFileSync(config.totalsFile + ".new", JSON.stringify(totals));
    fs.renameSync(config.totalsFile + ".new", config.totalsFile);
  });
  return true;
};
