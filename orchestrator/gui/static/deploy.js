// The form's id makes a press that comes twice one deployment; other choices are another one.
"use strict";
(() => {
  const form = document.querySelector("[data-deploy]");
  if (!form) return;
  const newId = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  };
  const renew = () => { form.elements.deployment_id.value = newId(); };
  form.addEventListener("change", renew);
  addEventListener("pageshow", (event) => { if (event.persisted) renew(); });
  // A browser that went back, or reloaded, keeps the choices: show their plan.
  addEventListener("load", () => htmx.trigger(form, "live-choices"));
})();
