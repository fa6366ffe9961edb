// Uploads of images that go on after a broken connection, and after a reload once the same file is
// chosen again (docs/images.md).
"use strict";
(() => {
  const PIECE_BYTES = 64 * 1024 * 1024;
  const HASHED_BYTES = 64 * 1024 * 1024;
  const LONGEST_PAUSE_MS = 10000;
  const form = document.querySelector("[data-upload]");
  if (!form) return;
  const fileField = form.elements.file;
  const nameField = form.elements.image_name;
  const box = form.querySelector("[data-progress]");
  const bar = box.querySelector("progress");
  const said = form.querySelector("[data-said]");
  const problemBox = form.querySelector("[data-problem]");
  const pauseButton = form.querySelector("[data-pause]");
  let current = null;

  const UNITS = ["B", "kB", "MB", "GB", "TB"];
  const bytesText = (value) => {
    let power = 0;
    while (value >= 999.5 && power < UNITS.length - 1) { value /= 1000; power += 1; }
    const digits = power === 0 || value >= 99.95 ? 0 : value < 9.995 ? 2 : 1;
    return `${value.toFixed(digits)} ${UNITS[power]}`;
  };
  const durationText = (seconds) => {
    if (seconds < 60) return `${Math.ceil(seconds)} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
    return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  };

  const say = (text) => { said.textContent = text; };
  const showProblem = (problem) => {
    problemBox.replaceChildren(...qnfv.told(problem));
    problemBox.hidden = false;
  };
  const url = (id) => `/api/v1/uploads/${id}`;

  // Which file an upload is of: a file of the same name that was changed since is another one.
  const key = (id) => `upload:${id}`;
  const fingerprint = (file) => `${file.name}|${file.size}|${file.lastModified}`;

  const sha256Of = async (file) => {
    if (file.size > HASHED_BYTES || !window.crypto?.subtle) return undefined;
    const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
    return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  };

  const busy = (is) => {
    box.hidden = !is;
    for (const field of [fileField, nameField, form.querySelector("button.primary")])
      field.disabled = is;
  };

  const show = (job, bytes) => {
    bar.max = job.file.size;
    bar.value = bytes;
    const elapsed = (performance.now() - job.since) / 1000;
    const rate = elapsed > 0.5 ? (bytes - job.from) / elapsed : 0;
    let text = `${bytesText(bytes)} of ${bytesText(job.file.size)}`;
    if (rate > 0) {
      text += `, ${bytesText(rate)}/s`;
      if (bytes < job.file.size) text += `, ${durationText((job.file.size - bytes) / rate)} left`;
    }
    if (bytes >= job.file.size) text = "All bytes are there; the image is being checked…";
    say(text);
  };

  // One piece. Answers {status, problem}; status 0: nothing was heard.
  const sendPiece = (job, offset) => new Promise((done) => {
    const request = new XMLHttpRequest();
    job.request = request;
    request.open("PATCH", url(job.id));
    request.setRequestHeader("Content-Type", "application/offset+octet-stream");
    request.setRequestHeader("Upload-Offset", String(offset));
    request.setRequestHeader("Accept", "application/json");
    if (qnfv.csrfToken()) request.setRequestHeader("X-CSRF-Token", qnfv.csrfToken());
    request.upload.addEventListener("progress", (event) => show(job, offset + event.loaded));
    request.addEventListener("loadend", () => {
      let problem = null;
      try { problem = JSON.parse(request.responseText); } catch { /* no document */ }
      done({ status: request.status, problem });
    });
    request.send(job.file.slice(offset, offset + PIECE_BYTES));
  });

  // Where the upload stands; null: nothing was heard.
  const ask = async (job) => {
    try {
      const answer = await fetch(url(job.id), { headers: { Accept: "application/json" } });
      if (answer.status === 401) { qnfv.toSignIn(); return null; }
      const document = await answer.json();
      return answer.ok ? { upload: document } : { problem: document };
    } catch {
      return null;
    }
  };

  const ended = (job, problem) => {
    if (problem) showProblem(problem);
    if (!problem || problem.status === 404) localStorage.removeItem(key(job.id));
    current = null;
    busy(false);
    htmx.trigger(document.body, "live-all");
  };

  const wait = (job, ms) => new Promise((done) => {
    job.wake = done;
    setTimeout(done, ms);
  });

  const run = async (job) => {
    let pauseMs = 500;
    while (current === job) {
      const stand = await ask(job);
      if (current !== job || job.paused) return;
      if (stand?.problem) return ended(job, stand.problem);
      if (stand?.upload.image) {
        form.reset();
        ended(job);
        qnfv.toast([Object.assign(document.createElement("p"), {
          textContent: `${job.name} is in the catalogue: ${stand.upload.image.slice(0, 16)}…`,
        })], "ok");
        return;
      }
      if (stand) {
        const offset = stand.upload.offset_bytes;
        job.from = offset;
        job.since = performance.now();
        show(job, offset);
        const { status, problem } = await sendPiece(job, offset);
        if (current !== job || job.paused) return;
        if (status === 401) return qnfv.toSignIn();
        if (status >= 200 && status < 300) { pauseMs = 500; continue; }
        // 409 and 400: it stands elsewhere, or broke off; asking again tells where to go on.
        if (status >= 400 && status < 500 && ![400, 408, 409].includes(status))
          return ended(job, problem ?? { title: `The service answered ${status}` });
      }
      say(`The connection broke; going on in ${Math.round(pauseMs / 1000) || 1} s…`);
      await wait(job, pauseMs);
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
    }
  };

  const start = (id, name, file) => {
    current = { id, name, file, paused: false, from: 0, since: performance.now() };
    localStorage.setItem(key(id), fingerprint(file));
    problemBox.hidden = true;
    pauseButton.textContent = "Pause";
    busy(true);
    run(current);
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (current) return;
    const file = fileField.files[0];
    const name = nameField.value;
    problemBox.hidden = true;
    if (!file || file.size === 0) {
      return showProblem({ title: "The file is empty", next_step: "Choose another file." });
    }
    if (file.size > Number(form.dataset.maxBytes)) {
      return showProblem({
        title: "The file is too large",
        detail: `It has ${bytesText(file.size)}, at most ${bytesText(Number(form.dataset.maxBytes))} are taken.`,
        next_step: "Choose a smaller image, or have max_image_bytes raised.",
      });
    }
    busy(true);
    say("Looking at the file…");
    current = { starting: true };
    const project = form.elements.project?.value;
    const wish = { name, size_bytes: file.size, sha256: await sha256Of(file), project };
    const { document: upload, problem } = await qnfv.ask("POST", "/api/v1/uploads", wish);
    current = null;
    if (problem) { busy(false); return showProblem(problem); }
    start(upload.upload_id, name, file);
  });

  fileField.addEventListener("change", () => {
    const file = fileField.files[0];
    if (!file || nameField.value) return;
    const bare = file.name.replace(/\.(tar|tgz|tar\.gz|qcow2|img|raw)$/i, "");
    nameField.value = bare.replace(/[^A-Za-z0-9._-]/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 64);
  });

  pauseButton.addEventListener("click", () => {
    const job = current;
    if (!job?.id) return;
    job.paused = !job.paused;
    pauseButton.textContent = job.paused ? "Go on" : "Pause";
    if (job.paused) {
      job.request?.abort();
      say("Paused.");
    } else {
      const again = { ...job, paused: false };
      current = again;
      run(again);
    }
  });

  form.querySelector("[data-give-up]").addEventListener("click", async () => {
    const job = current;
    if (!job?.id || !(await qnfv.confirmed(`Throw away what was uploaded of ${job.name}?`))) return;
    if (current?.id !== job.id) return;
    current = null;
    job.request?.abort();
    const { problem } = await qnfv.ask("DELETE", url(job.id));
    ended(job, problem);
  });

  // An upload of before: its file has to be chosen again, browsers keep none.
  document.addEventListener("change", (event) => {
    const field = event.target;
    if (!field.dataset.resume) return;
    const file = field.files[0];
    if (!file || current) return;
    const known = localStorage.getItem(key(field.dataset.resume));
    if (file.size !== Number(field.dataset.size) || (known && known !== fingerprint(file))) {
      showProblem({
        title: "This is another file",
        detail: `${file.name} is not the file that this upload was begun with, or it was changed since.`,
        next_step: "Choose the same file, or throw the upload away and begin anew.",
      });
      field.value = "";
      return;
    }
    start(field.dataset.resume, field.dataset.name, file);
  });
})();
