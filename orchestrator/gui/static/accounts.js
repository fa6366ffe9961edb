// Secrets that are shown once: one-time passwords, which are made here, and new tokens.
"use strict";
(() => {
  const ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789";
  const GROUPS = 5;
  const dialog = document.getElementById("secret");
  const text = dialog.querySelector("[data-secret-text]");

  // 32 letters: each byte's low five bits, evenly spread.
  const newPassword = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(4 * GROUPS));
    const letters = [...bytes].map((byte) => ALPHABET[byte & 31]).join("");
    return letters.match(/.{4}/g).join("-");
  };

  const show = (about, secret) => {
    dialog.querySelector("[data-secret-about]").textContent = about;
    text.textContent = secret;
    dialog.showModal();
  };
  dialog.addEventListener("close", () => { text.textContent = ""; });
  dialog.querySelector("[data-secret-close]").addEventListener("click", () => dialog.close());
  dialog.querySelector("[data-secret-copy]").addEventListener("click", async (event) => {
    const button = event.target;
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(text);
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 3000);
  });

  // Before forms.js reads the form.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if ("oneTimePassword" in form.dataset && form.getAttribute("aria-busy") !== "true")
      form.elements.password.value = newPassword();
  }, { capture: true });

  document.addEventListener("rest-done", (event) => {
    const form = event.target;
    if ("oneTimePassword" in form.dataset) {
      const user = form.dataset.user ?? form.elements.name.value;
      show(`The password of ${user}, good until the first sign-in:`, form.elements.password.value);
      form.elements.password.value = "";
    }
    if ("token" in form.dataset) show(`The token ${event.detail.name}:`, event.detail.token);
    if ("reset" in form.dataset) form.reset();
  });
})();
