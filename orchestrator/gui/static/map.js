// Draws the network; its elements come with the live block below it (orchestrator/gui/network_map.py).
"use strict";
(() => {
  const place = document.getElementById("map");
  const NARROW_PX = 560;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  const isNarrow = () => place.clientWidth < NARROW_PX;

  const style = () => [
    { selector: "node", style: {
      label: "data(label)", "font-size": 15, color: colour("text"), "text-valign": "center",
      shape: "round-rectangle", width: 84, height: 36, "border-width": 1.5,
      "border-color": colour("line-strong"), "background-color": colour("surface") } },
    { selector: "node.switch", style: { shape: "cut-rectangle", "background-color": colour("raised"), "font-weight": 600 } },
    { selector: "node.quantum", style: { "border-color": colour("quantum"), color: colour("quantum"), "border-style": "dashed", "border-width": 2 } },
    { selector: "node.classical", style: { "border-color": colour("classical"), color: colour("classical") } },
    { selector: "node.away", style: { "border-color": colour("bad"), color: colour("bad") } },
    { selector: "node.site", style: {
      "background-color": colour("surface"), "background-opacity": 0.55, "border-color": colour("line"), "border-width": 1,
      "text-valign": "top", "text-margin-y": -4, color: colour("muted"), padding: 18, "font-size": 15 } },
    { selector: "edge", style: {
      width: 2, "curve-style": "bezier", "line-color": colour("classical"), label: isNarrow() ? "" : "data(label)",
      "font-size": 13, color: colour("muted"), "text-background-color": colour("ground"), "text-background-opacity": 0.9,
      "text-background-padding": 2, "text-rotation": "autorotate", "line-opacity": 0.75 } },
    { selector: "edge.quantum", style: { "line-color": colour("quantum"), "line-style": "dashed", "line-dash-pattern": [7, 5] } },
    { selector: "edge.both", style: { "line-color": colour("line-strong"), "line-style": "dotted" } },
    { selector: "edge.live, edge.lost", style: { label: "data(label)" } },
    { selector: "edge.live", style: { width: 6, "line-opacity": 1, color: colour("text"), "font-weight": 600, "z-index": 9 } },
    { selector: "edge.live.quantum", style: { "line-dash-pattern": [14, 6] } },
    { selector: "edge.lost", style: { "line-color": colour("bad"), color: colour("bad"), "line-style": "dotted", "line-opacity": 1 } },
  ];

  // On a phone the columns stand closer, so that names stay readable.
  const squeezed = (elements) => !isNarrow() ? elements : elements.map((element) =>
    element.position ? { ...element, position: { x: element.position.x * 0.66, y: element.position.y * 1.1 } } : element);

  const read = () => JSON.parse(document.getElementById("map_data").dataset.elements);
  const map = cytoscape({
    container: place, elements: squeezed(read()), style: style(), layout: { name: "preset", fit: true, padding: 16 },
    autoungrabify: true, autounselectify: true, userZoomingEnabled: false, userPanningEnabled: false, boxSelectionEnabled: false,
  });
  const fit = () => { map.resize(); map.fit(undefined, 16); };

  const renew = () => {
    map.batch(() => {
      for (const { data, classes } of read()) {
        const element = map.getElementById(data.id);
        element.data("label", data.label);
        element.classes(classes);
      }
    });
    place.dataset.live = map.edges(".live").map((edge) => edge.id()).join(" ");
  };
  renew();
  document.body.addEventListener("htmx:afterSettle", (event) => { if (event.detail.target.id === "map_data") renew(); });
  document.addEventListener("theme-changed", () => map.style(style()));
  new ResizeObserver(fit).observe(place);
})();
