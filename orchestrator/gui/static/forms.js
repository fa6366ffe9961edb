// Forms that speak to the REST of this service.
//
//   <form data-rest="PUT /api/v1/..." data-done="Said when it worked" data-then="/where/to/go"
//         data-confirm="Asked before">
//
// Named fields become a JSON document, but for those that the path names as {field}: numbers and
// check boxes as such, empty ones left out. Which form was answered with what is told as the event
// `rest-done` (detail: the answer's document).
// A problem is shown in the form's [data-problem], or as a toast.
"use strict";
(() => {
  let leaving = false;  // a form leads to another page: what still comes in for this one is late

  const csrfToken = () => document.querySelector('meta[name="csrf-token"]').content;

  const documentOf = (form) => {
    const found = {};
    for (const field of form.elements) {
      if (!field.name || field.disabled || (field.type === "radio" && !field.checked)) continue;
      if (field.type === "checkbox") found[field.name] = field.checked;
      else if (field.value === "") continue;
      else if (field.type === "number" || field.dataset.type === "number")
        found[field.name] = Number(field.value);
      else if (field.dataset.type === "boolean") found[field.name] = field.value === "true";
      else found[field.name] = field.value;
    }
    return found;
  };

  const toSignIn = () => {
    location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  };

  const problemOf = async (answer) => {
    const type = answer.headers.get("content-type") ?? "";
    if (type.includes("json")) return answer.json();
    return { title: `The service answered ${answer.status}`, detail: "", next_step: "Try again." };
  };

  // Answers {document} or {problem}; a session that is over leads to sign-in.
  const ask = async (method, url, body) => {
    const headers = { Accept: "application/json" };
    if (csrfToken()) headers["X-CSRF-Token"] = csrfToken();
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let answer;
    try {
      answer = await fetch(url, {
        method, headers, body: body === undefined ? undefined : JSON.stringify(body),
      });
    } catch {
      return { problem: {
        title: "The orchestrator does not answer",
        detail: "Nothing is known about whether it did what you asked.",
        next_step: "Look at the page again once the connection is back, then repeat it if needed.",
      } };
    }
    if (answer.status === 401 && location.pathname !== "/sign-in") {
      const problem = await problemOf(answer);
      if (problem.type !== "urn:qnfv:problem:sign-in-refused") toSignIn();
      return { problem };
    }
    if (!answer.ok) return { problem: await problemOf(answer) };
    const text = await answer.text();
    return { document: text ? JSON.parse(text) : null };
  };

  const line = (tag, text) => {
    const element = document.createElement(tag);
    element.textContent = text;
    return element;
  };

  const told = (problem) => {
    const lines = [line("strong", problem.title)];
    if (problem.detail) lines.push(line("p", problem.detail));
    if (problem.next_step) lines.push(line("p", problem.next_step));
    return lines;
  };

  const toast = (nodes, kind) => {
    const box = document.createElement("div");
    box.className = `toast toast-${kind}`;
    if (kind === "bad") box.setAttribute("role", "alert");
    const close = line("button", "Close");
    close.type = "button";
    close.className = "quiet";
    close.addEventListener("click", () => box.remove());
    box.append(...nodes, close);
    document.getElementById("toasts").append(box);
    if (kind !== "bad") setTimeout(() => box.remove(), 6000);
  };

  const confirmed = (question) => new Promise((decide) => {
    const dialog = document.getElementById("confirm");
    document.getElementById("confirm-text").textContent = question;
    dialog.returnValue = "no";
    dialog.addEventListener("close", () => decide(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
  });

  const show = (form, problem) => {
    const place = form.querySelector("[data-problem]");
    if (!place) return toast(told(problem), "bad");
    place.replaceChildren(...told(problem));
    place.hidden = false;
  };

  // "/operations/{operation_id}" with these values.
  const filled = (path, values) =>
    path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(values[name]));

  const send = async (form) => {
    if (form.dataset.confirm && !(await confirmed(form.dataset.confirm))) return;
    const [method, path] = form.dataset.rest.split(" ");
    const buttons = [...form.querySelectorAll("button")].filter((button) => !button.disabled);
    for (const button of buttons) button.disabled = true;
    form.setAttribute("aria-busy", "true");
    const place = form.querySelector("[data-problem]");
    if (place) place.hidden = true;
    const fields = documentOf(form);
    const url = filled(path, fields);
    for (const [, name] of path.matchAll(/\{(\w+)\}/g)) delete fields[name];
    const body = method === "DELETE" ? undefined : fields;
    leaving = Boolean(form.dataset.then);
    const { document: answered, problem } = await ask(method, url, body);
    form.removeAttribute("aria-busy");
    if (!problem && leaving) return location.assign(filled(form.dataset.then, answered));
    leaving = false;
    for (const button of buttons) button.disabled = false;
    if (problem) return show(form, problem);
    if (form.dataset.done) toast([line("p", form.dataset.done)], "ok");
    form.dispatchEvent(new CustomEvent("rest-done", { bubbles: true, detail: answered }));
    htmx.trigger(document.body, "live-all");
  };

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.dataset.rest) return;
    event.preventDefault();
    if (form.getAttribute("aria-busy") !== "true") send(form);
  });

  document.addEventListener("htmx:beforeOnLoad", (event) => {
    if (leaving) event.preventDefault();
  });

  document.addEventListener("htmx:configRequest", (event) => {
    event.detail.headers["X-CSRF-Token"] = csrfToken();
    // Nobody sits behind what a page asks by itself: it keeps no idle session alive.
    if (event.detail.triggeringEvent?.type.startsWith("live-")) event.detail.headers["X-Live"] = "1";
  });

  window.qnfv = { ask, csrfToken, confirmed, isLeaving: () => leaving, told, toast, toSignIn };
})();
