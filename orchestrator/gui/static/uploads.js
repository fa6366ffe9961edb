// Uploads of images and packages that go on after a broken connection, and after a reload once the same file is
// chosen again (docs/images.md).
"use strict";
(() => {
  const PIECE_BYTES = 64 * 1024 * 1024;
  const HASHED_BYTES = 64 * 1024 * 1024;
  const LONGEST_PAUSE_MS = 10000;
  const LONGEST_LOOK_MS = 3000;
  const UPLOADS = "/api/v1/uploads";
  const PACKAGES = "/vnfpkgm/v1/vnf_packages";

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
  const nameOf = (file) => file.name
    .replace(/\.(tar|tgz|tar\.gz|qcow2|img|raw|csar|zip)$/i, "")
    .replace(/[^A-Za-z0-9._-]/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 64);
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const toast = (text) => {
    qnfv.toast([Object.assign(document.createElement("p"), { textContent: text })], "ok");
  };

  // Which file an upload is of: a file of the same name that was changed since is another one.
  const key = (id) => `upload:${id}`;
  const fingerprint = (file) => `${file.name}|${file.size}|${file.lastModified}`;

  const sha256Of = async (file) => {
    if (file.size > HASHED_BYTES || !window.crypto?.subtle) return undefined;
    const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
    return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  };

  // What an upload is of: what it is called, how it is begun ({document} or {problem}), and what
  // is said once all of it is there (a problem, if there is one).
  const KINDS = {
    image: {
      noun: "image",
      nameOf: (form) => form.elements.image_name.value,
      begin: (form, wish) =>
        qnfv.ask("POST", UPLOADS, { ...wish, project: form.elements.project?.value }),
      end: async (upload, job) => {
        toast(`${job.name} is in the catalogue: ${upload.image.slice(0, 16)}…`);
      },
    },
    package: {
      noun: "package",
      nameOf: (form, file) => nameOf(file) || "package",
      // `packageId`: of one that waits for its content.
      begin: async (form, wish, packageId) => {
        let id = packageId;
        if (!id) {
          const project = form.elements.project?.value;
          const userDefinedData = { name: wish.name, ...(project ? { project } : {}) };
          const made = await qnfv.ask("POST", PACKAGES, { userDefinedData });
          if (made.problem) return made;
          id = made.document.id;
        }
        const begun = await qnfv.ask("POST", UPLOADS, { ...wish, vnf_package: id });
        if (begun.problem && !packageId) await qnfv.ask("DELETE", `${PACKAGES}/${id}`);
        return begun;
      },
      end: async (upload, job) => {
        for (let pauseMs = 200; ; pauseMs = Math.min(2 * pauseMs, LONGEST_LOOK_MS)) {
          const { document: found, problem } =
            await qnfv.ask("GET", `${PACKAGES}/${upload.vnf_package}`);
          if (problem?.status) return problem;
          if (found?.onboardingState === "CREATED") return found.onboardingFailureDetails;
          if (found?.onboardingState === "ONBOARDED") {
            toast(`${found.vnfProductName} ${found.vnfSoftwareVersion} is onboarded.`);
            return null;
          }
          await pause(pauseMs);
        }
      },
    },
  };

  const uploader = (form) => {
    const kind = KINDS[form.dataset.upload];
    const fileField = form.elements.file;
    const box = form.querySelector("[data-progress]");
    const bar = box.querySelector("progress");
    const said = form.querySelector("[data-said]");
    const problemBox = form.querySelector("[data-problem]");
    const pauseButton = form.querySelector("[data-pause]");
    const giveUpButton = form.querySelector("[data-give-up]");
    let current = null;

    const say = (text) => { said.textContent = text; };
    const showProblem = (problem) => {
      problemBox.replaceChildren(...qnfv.told(problem));
      problemBox.hidden = false;
    };
    const url = (id) => `${UPLOADS}/${id}`;

    const busy = (is) => {
      box.hidden = !is;
      for (const field of form.elements) if (!box.contains(field)) field.disabled = is;
      for (const button of [pauseButton, giveUpButton]) button.disabled = false;
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
      if (bytes >= job.file.size) text = `All bytes are there; the ${kind.noun} is being checked…`;
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

    const finished = async (job, upload) => {
      for (const button of [pauseButton, giveUpButton]) button.disabled = true;
      show(job, job.file.size);
      localStorage.removeItem(key(job.id));
      htmx.trigger(document.body, "live-all");
      const problem = await kind.end(upload, job);
      if (!problem) form.reset();
      ended(job, problem);
    };

    const run = async (job) => {
      let pauseMs = 500;
      while (current === job) {
        const stand = await ask(job);
        if (current !== job || job.paused) return;
        if (stand?.problem) return ended(job, stand.problem);
        if (stand?.upload.finished_at) return finished(job, stand.upload);
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
        await pause(pauseMs);
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

    const begin = async (file, packageId) => {
      if (current) return;
      problemBox.hidden = true;
      if (!file || file.size === 0) {
        return showProblem({ title: "The file is empty", next_step: "Choose another file." });
      }
      const most = Number(form.dataset.maxBytes);
      if (file.size > most) {
        return showProblem({
          title: "The file is too large",
          detail: `It has ${bytesText(file.size)}, at most ${bytesText(most)} are taken.`,
          next_step: "Choose a smaller one, or have max_image_bytes raised.",
        });
      }
      const name = kind.nameOf(form, file);
      current = { starting: true };
      busy(true);
      say("Looking at the file…");
      const wish = { name, size_bytes: file.size, sha256: await sha256Of(file) };
      const { document: upload, problem } = await kind.begin(form, wish, packageId);
      current = null;
      if (problem) { busy(false); return showProblem(problem); }
      start(upload.upload_id, name, file);
    };

    // An upload of before: its file has to be chosen again, browsers keep none.
    const resume = (field) => {
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
    };

    form.addEventListener("submit", (event) => {
      event.preventDefault();
      begin(fileField.files[0]);
    });

    fileField.addEventListener("change", () => {
      const nameField = form.elements.image_name;
      const file = fileField.files[0];
      if (file && nameField && !nameField.value) nameField.value = nameOf(file);
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

    giveUpButton.addEventListener("click", async () => {
      const job = current;
      if (!job?.id || !(await qnfv.confirmed(`Throw away what was uploaded of ${job.name}?`))) return;
      if (current?.id !== job.id) return;
      current = null;
      job.request?.abort();
      const { problem } = await qnfv.ask("DELETE", url(job.id));
      ended(job, problem);
    });

    return { begin, resume };
  };

  const uploaders = {};
  for (const form of document.querySelectorAll("[data-upload]"))
    uploaders[form.dataset.upload] = uploader(form);

  document.addEventListener("change", ({ target: field }) => {
    if (field.dataset.resume) uploaders[field.dataset.kind].resume(field);
    if (field.dataset.again) {
      uploaders.package.begin(field.files[0], field.dataset.again);
      field.value = "";
    }
  });
})();
