// Light, dark, or as the system says; kept in this browser. Runs before the first paint.
"use strict";
(() => {
  const NEXT = { system: "light", light: "dark", dark: "system" };
  const kept = () => {
    const name = localStorage.getItem("theme");
    return name in NEXT ? name : "system";
  };
  const show = (name) => {
    document.documentElement.dataset.theme = name;
    const label = document.querySelector("[data-theme-name]");
    if (label) label.textContent = `Theme: ${name}`;
    document.dispatchEvent(new CustomEvent("theme-changed"));
  };
  show(kept());
  document.addEventListener("DOMContentLoaded", () => {
    show(kept());
    document.querySelector("[data-theme-toggle]")?.addEventListener("click", () => {
      const name = NEXT[kept()];
      localStorage.setItem("theme", name);
      show(name);
    });
    const menu = document.querySelector("[data-menu]");
    menu?.addEventListener("click", () => {
      const open = menu.getAttribute("aria-expanded") !== "true";
      menu.setAttribute("aria-expanded", String(open));
    });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(kept()));
})();
