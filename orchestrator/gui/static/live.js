// Hears what changed, and lets the blocks that show it ask for themselves (htmx, `live-TOPIC`).
// Closed while nobody looks: a browser has few connections to one service.
"use strict";
(() => {
  const RETRY_MS = 2000;
  let source = null;

  const topics = () => {
    const blocks = [...document.querySelectorAll("[data-live]")];
    return [...new Set(blocks.flatMap((block) => block.dataset.live.split(" ")))].filter(Boolean);
  };
  const lost = (is) => { document.getElementById("connection-lost").hidden = !is; };
  const tell = (topic) => htmx.trigger(document.body, `live-${topic}`);

  const close = () => { source?.close(); source = null; };

  // The browser gives up where it got an answer that is no stream: is it the session, or a restart?
  const again = async () => {
    close();
    try {
      const answer = await fetch("/api/v1/me", { headers: { "X-Live": "1" } });
      if (answer.status === 401 && !qnfv.isLeaving()) return qnfv.toSignIn();
    } catch { /* still away */ }
    setTimeout(open, RETRY_MS);
  };

  const open = () => {
    if (source || document.hidden) return;
    const wanted = topics();
    if (!wanted.length) return;
    const query = wanted.map((topic) => `topics=${topic}`).join("&");
    source = new EventSource(`/gui/events?${query}`);
    source.addEventListener("open", () => { lost(false); tell("all"); });
    source.addEventListener("changed", (event) => JSON.parse(event.data).forEach(tell));
    source.addEventListener("error", () => {
      lost(true);
      if (source?.readyState === EventSource.CLOSED) again();
    });
  };

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
})();
