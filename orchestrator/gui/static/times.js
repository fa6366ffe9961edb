// Keeps relative times up to date; the words are those of orchestrator/gui/formats.py.
"use strict";
(() => {
  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const relative = (seconds) => {
    const size = Math.abs(seconds);
    if (size < 1.5) return "now";
    const [length, unit] = UNITS.find(([length]) => size >= length);
    const amount = `${Math.floor(size / length)} ${unit}`;
    return seconds < 0 ? `${amount} ago` : `in ${amount}`;
  };
  const renew = () => {
    for (const time of document.querySelectorAll("time[data-relative]")) {
      const text = relative((Date.parse(time.dateTime) - Date.now()) / 1000);
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(renew, 1000);
})();
