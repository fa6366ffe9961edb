// Draws the plots of pools; their columns come with the live block (orchestrator/gui/keys.py).
"use strict";
(() => {
  const HEIGHT_PX = 190;
  const STEPS_S = [60, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200];
  const LEAST_KEYS = 8;
  const plots = new Map();
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  const ago = (seconds) => {
    if (seconds === 0) return "now";
    const size = Math.abs(seconds);
    const [length, unit] = size >= 3600 ? [3600, "h"] : size >= 60 ? [60, "min"] : [1, "s"];
    return `\u2212${+(size / length).toFixed(1)} ${unit}`;
  };
  const keys = (_, value) => (value == null ? "\u2013" : String(value));

  const options = (place) => ({
    width: place.clientWidth, height: HEIGHT_PX,
    scales: { x: { time: false }, y: { range: (_, __, most) => [0, Math.max(LEAST_KEYS, most * 1.08)] }, flow: { range: (_, __, most) => [0, Math.max(LEAST_KEYS, most * 1.6)] } },
    cursor: { drag: { x: false, y: false } },
    axes: [
      { incrs: STEPS_S, space: 64, values: (_, marks) => marks.map(ago), stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line") } },
      { scale: "y", size: 58, stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line") } },
      { scale: "flow", side: 1, size: 58, stroke: colour("muted"), grid: { show: false }, ticks: { stroke: colour("line") } },
    ],
    series: [
      { label: "QKD time", value: (_, seconds) => (seconds == null ? "\u2013" : ago(seconds)) },
      { label: "free keys", scale: "y", stroke: colour("quantum"), width: 2.5, value: keys, points: { show: false } },
      { label: `made in ${place.dataset.interval}`, scale: "flow", stroke: colour("ok"), fill: `${colour("ok")}55`, value: keys,
        paths: uPlot.paths.bars({ size: [0.9, 14], align: -1 }), points: { show: false } },
      { label: `used in ${place.dataset.interval}`, scale: "flow", stroke: colour("classical"), dash: [6, 4], width: 2, value: keys,
        paths: uPlot.paths.stepped({ align: -1 }), points: { show: false } },
    ],
  });

  const columns = (place) => {
    const told = JSON.parse(place.dataset.plot);
    return [told.at_qkd_s, told.level_keys, told.made_keys, told.used_keys];
  };

  const draw = (place) => {
    const there = plots.get(place);
    if (there && place.contains(there.root)) return there.setData(columns(place));
    there?.destroy();
    plots.set(place, new uPlot(options(place), columns(place), place));
  };
  const all = () => document.querySelectorAll("[data-plot]");
  const again = () => {
    for (const plot of plots.values()) plot.destroy();
    plots.clear();
    all().forEach(draw);
  };

  // What a plot drew into its place stays there when the block around it is morphed.
  Idiomorph.defaults.callbacks.beforeNodeRemoved = (node) => !node.parentElement?.dataset.plot;
  document.body.addEventListener("htmx:afterSettle", () => all().forEach(draw));
  document.addEventListener("theme-changed", again);
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; again(); } });
  all().forEach(draw);
})();
