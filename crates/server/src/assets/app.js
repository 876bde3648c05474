// The little that the pages cannot do on the server: uploading with progress, following a task, and
// handing a picture to a model. No framework; without it every page still reads.
"use strict";

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function bytes(count) {
  const units = ["B", "kB", "MB", "GB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) { count /= 1000; unit++; }
  return `${count < 10 && unit ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}

function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (h) return m ? `${h} h ${m} min` : `${h} h`;
  if (m) return s ? `${m} min ${s} s` : `${m} min`;
  return `${s} s`;
}

// A problem (RFC 9457) as something to show.
function problemBox(problem) {
  const box = element("div", { class: "alert", role: "alert" });
  box.append(element("strong", {}, problem.title || "That did not work"));
  if (problem.detail) box.append(element("p", {}, problem.detail));
  if (problem.violations?.length) {
    const list = element("ul");
    for (const v of problem.violations) list.append(element("li", {}, element("code", {}, v.pointer), ` ${v.message}`));
    box.append(list);
  }
  return box;
}

const unreachable = { title: "The service cannot be reached", detail: "Is it still running? Try again in a moment." };

async function call(method, url, body) {
  let response;
  try {
    const headers = { accept: "application/json" };
    if (body !== undefined) headers["content-type"] = "application/json";
    response = await fetch(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch { throw unreachable; }
  const text = await response.text();
  let value = null;
  try { value = text ? JSON.parse(text) : null; } catch { /* not JSON: told by the status below */ }
  if (!response.ok) throw value || { title: `The service answered ${response.status}` };
  return value;
}

// Every file input may also have files dropped on its frame.
for (const input of $$("input[type=file][data-over]")) {
  const frame = $(input.dataset.over);
  for (const kind of ["dragenter", "dragover"]) {
    frame.addEventListener(kind, (event) => { event.preventDefault(); frame.classList.add("over"); });
  }
  for (const kind of ["dragleave", "drop"]) frame.addEventListener(kind, () => frame.classList.remove("over"));
  frame.addEventListener("drop", (event) => {
    event.preventDefault();
    if (input.disabled || !event.dataTransfer.files.length) return;
    input.files = event.dataTransfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
}
// A file dropped beside the frame must not replace the page.
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());

// ---- Uploading an archive -------------------------------------------------------------------

function put(url, file, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", url);
    request.setRequestHeader("prefer", "respond-async");
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.onprogress = (event) => onProgress(event.loaded, event.total || file.size);
    request.onerror = () => reject(unreachable);
    request.onload = () => {
      let value = null;
      try { value = JSON.parse(request.responseText); } catch { /* told by the status below */ }
      if (request.status < 300) resolve(value);
      else reject(value || { title: `The service answered ${request.status}` });
    };
    request.send(file);
  });
}

const upload = $("#upload");
if (upload) {
  const [status, bar, input] = [$("#upload-status"), $("#upload-bar"), $("#archive")];
  const name = $("#dataset-name");
  let made = upload.dataset.dataset || null;
  const say = (text) => status.replaceChildren(element("p", {}, text));
  const send = async (file) => {
    if (name && !name.value.trim()) name.value = file.name.replace(/\.(zip|tar|tgz|tar\.gz)$/i, "") || "Pictures";
    input.disabled = true;
    bar.hidden = false;
    bar.classList.remove("busy");
    try {
      say("Getting ready …");
      if (!made) made = (await call("POST", "/v1/datasets", { name: name.value.trim(), kind: "image-classification", labels: $("#labels")?.value })).id;
      let dataset = await put(`/v1/datasets/${made}/content`, file, (done, total) => {
        bar.firstElementChild.style.width = `${(100 * done) / total}%`;
        say(done < total ? `Sending ${bytes(done)} of ${bytes(total)} …` : "Sent. Looking at every picture …");
      });
      say("Sent. Looking at every picture …");
      bar.classList.add("busy");
      while (dataset.state === "processing" || dataset.state === "empty") {
        await new Promise((wake) => setTimeout(wake, 500));
        dataset = await call("GET", `/v1/datasets/${made}`);
      }
      if (dataset.state === "refused") throw { title: "These pictures cannot be used yet", detail: dataset.problem?.detail };
      location.href = `/datasets/${made}`;
    } catch (problem) {
      bar.hidden = true;
      status.replaceChildren(problemBox(problem));
    }
    input.disabled = false;
    input.value = "";
  };
  input.addEventListener("change", () => { if (input.files.length) send(input.files[0]); });
  upload.addEventListener("submit", (event) => event.preventDefault());
}

const reload = $("[data-reload]");
if (reload) setTimeout(() => location.reload(), Number(reload.dataset.reload));

// ---- Posting a task --------------------------------------------------------------------------

const grow = $("#grow");
if (grow) {
  const kind = grow.elements.kind;
  const anomalies = "anomaly-detection";
  // What is not asked of this kind of task is not shown.
  const show = () => {
    for (const part of $$("[data-for]", grow)) {
      const of = part.dataset.for;
      part.hidden = of === "others" ? kind.value === anomalies : of !== kind.value;
    }
  };
  kind.addEventListener("change", show);
  show();
  grow.addEventListener("submit", async (event) => {
    event.preventDefault();
    const status = $("#grow-status");
    const spec = {
      version: 1,
      name: grow.elements.name.value.trim(),
      kind: kind.value,
      dataset: grow.dataset.dataset,
      constraints: {},
      budget: { seconds: Number(grow.elements.seconds.value) },
    };
    const [kilobytes, latency] = [grow.elements.kilobytes.value, grow.elements.latency.value];
    if (kilobytes) spec.constraints.max_weights_bytes = Math.round(Number(kilobytes) * 1000);
    if (latency) spec.constraints.max_latency_ms = Number(latency);
    if (kind.value === "image-classification") spec.objective = { metric: grow.elements.metric.value };
    const mapping = {};
    let plain = true;
    if (kind.value === anomalies) {
      spec.good = grow.elements.good.value;
      spec.false_alarms = Number(grow.elements.alarms.value) / 100;
    } else for (const box of $$("[data-class]", grow)) {
      if (!box.checked) { plain = false; continue; }
      const given = $$("[data-answer]", grow).find((answer) => answer.dataset.answer === box.dataset.class);
      const answer = given.value.trim() || box.dataset.class;
      if (answer !== box.dataset.class) plain = false;
      (mapping[answer] ??= []).push(box.dataset.class);
    }
    if (!plain) spec.classes = mapping;
    const button = $("button[type=submit]", grow);
    button.disabled = true;
    status.replaceChildren(element("p", {}, "Starting …"));
    try {
      const task = await call("POST", "/v1/tasks", spec);
      location.href = `/tasks/${task.id}`;
    } catch (problem) {
      status.replaceChildren(problemBox(problem));
    }
    button.disabled = false;
  });
}

// ---- Following a task ------------------------------------------------------------------------

const task = $("#task");
if (task) {
  const base = `/v1/tasks/${task.dataset.task}`;
  let waiting = null;
  let busy = false;
  let again = false;

  // Puts what the server wrote in place of what it wrote before, where it differs.
  const refresh = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const response = await fetch(`/tasks/${task.dataset.task}/live`, { headers: { accept: "text/html" } });
      if (response.ok) {
        const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
        for (const part of $$("[data-live]", fresh)) {
          const old = document.getElementById(part.id);
          if (!old || old.outerHTML === part.outerHTML) continue;
          // Not under someone's fingers.
          if (old.contains(document.activeElement) && document.activeElement !== document.body && part.id !== "progress") continue;
          old.replaceWith(document.adoptNode(part));
        }
        tick();
        const model = $("#best").dataset.model;
        if (model && $("#file").disabled) {
          $("#file").disabled = false;
          $("#answer").replaceChildren();
        }
      }
    } catch { /* the stream says so too, and comes back */ }
    busy = false;
    if (again) { again = false; soon(); }
  };
  const soon = () => { waiting ??= setTimeout(() => { waiting = null; refresh(); }, 300); };

  // The clock runs between events.
  let seen = performance.now();
  let stamp = null;
  const tick = () => {
    const bar = $("#progress .bar");
    const [total, spent] = [Number(bar.dataset.total), Number(bar.dataset.spent)];
    if (!total) return;
    if (stamp !== bar) { stamp = bar; seen = performance.now(); }
    const now = Math.min(total, spent + (performance.now() - seen) / 1000);
    $("rect", bar).setAttribute("width", (100 * now) / total);
    bar.setAttribute("aria-valuenow", Math.round((100 * now) / total));
    const clock = $("[data-clock]");
    if (clock) clock.textContent = duration(now);
    $("#progress-title").textContent = total - now >= 1 ? `Searching, ${duration(total - now)} left` : "Finishing";
  };
  setInterval(tick, 500);

  const follow = () => {
    const events = new EventSource(`${base}/events`);
    for (const kind of ["task", "trial", "rung", "model"]) events.addEventListener(kind, soon);
    events.addEventListener("end", () => { events.close(); soon(); });
    // What the store does not tell of, such as seconds spent, is looked at now and then.
    const poll = setInterval(() => (events.readyState === EventSource.CLOSED ? clearInterval(poll) : soon()), 5000);
  };
  if (task.dataset.over !== "true") follow();

  task.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-cancel],[data-resume]");
    if (!button) return;
    button.disabled = true;
    try {
      if ("cancel" in button.dataset) await call("POST", `${base}/cancel`, {});
      else { await call("POST", `${base}/resume`, { seconds: Number(button.dataset.resume) }); follow(); }
      button.blur();
      soon();
    } catch (problem) {
      $("#action-status").replaceChildren(problemBox(problem));
      button.disabled = false;
    }
  });
}

// ---- Following a fleet -----------------------------------------------------------------------

const fleet = $("#fleet");
if (fleet) {
  const id = fleet.dataset.fleet;
  let over = fleet.dataset.over === "true";
  const look = async () => {
    try {
      const response = await fetch(`/fleets/${id}/live`, { headers: { accept: "text/html" } });
      if (response.ok) {
        const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
        for (const part of $$("[data-live]", fresh)) {
          const old = document.getElementById(part.id);
          if (old && old.outerHTML !== part.outerHTML && !old.contains(document.activeElement)) old.replaceWith(document.adoptNode(part));
        }
        over = $("#progress").dataset.over === "true";
      }
    } catch { /* the next look says more */ }
    if (!over) setTimeout(look, 2000);
  };
  if (!over) setTimeout(look, 2000);
  fleet.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-cancel]");
    if (!button) return;
    button.disabled = true;
    try {
      await call("POST", `/v1/fleets/${id}/cancel`, {});
      button.blur();
      look();
    } catch (problem) {
      $("#action-status").replaceChildren(problemBox(problem));
      button.disabled = false;
    }
  });
}

// ---- Trying a model --------------------------------------------------------------------------

const file = $("#file");
if (file) {
  const [answer, preview] = [$("#answer"), $("#preview")];
  const model = () => ($("#model") || $("#best"))?.dataset.model;
  let asked = 0;
  const show = (picture) => {
    if (preview.src) URL.revokeObjectURL(preview.src);
    preview.src = URL.createObjectURL(picture);
  };
  const post = async (address, picture) => {
    let response;
    try {
      response = await fetch(address, {
        method: "POST", headers: { "content-type": picture.type || "application/octet-stream" }, body: picture,
      });
    } catch { throw unreachable; }
    if (!response.ok) throw await response.json();
    return response;
  };
  // The picture with what speaks for the answer painted over, of the model that gave it.
  const whereButton = (address, picture, mine) => {
    const button = element("button", { type: "button" }, "Show where it sees this");
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        const painted = await (await post(`${address}?explain=heatmap`, picture)).blob();
        if (mine !== asked) return;
        show(painted);
        button.remove();
      } catch (problem) { button.replaceWith(problemBox(problem)); }
    });
    return button;
  };
  const ask = async (picture) => {
    const mine = ++asked, address = `/v1/models/${model()}/predict`;
    show(picture);
    preview.onload = () => { preview.hidden = false; };
    preview.onerror = () => { preview.hidden = true; };
    $("#objects").replaceChildren();
    answer.replaceChildren(element("p", {}, "Looking …"));
    try {
      const value = await (await post(address, picture)).json();
      if (mine !== asked) return;
      if (value.objects) $("#objects").replaceChildren(...value.objects.map(boxOf));
      answer.replaceChildren(...answerOf(value), ...(value.objects ? [] : [whereButton(address, picture, mine)]));
    } catch (problem) {
      if (mine === asked) answer.replaceChildren(problemBox(problem));
    }
  };
  file.addEventListener("change", () => { if (file.files.length) ask(file.files[0]); file.value = ""; });
}

// An object's box over the picture; the label is drawn by the style sheet.
function boxOf({ label, score, box: [left, top, right, bottom] }) {
  const box = element("span", { "data-label": `${label} ${Math.round(score * 100)}` });
  Object.assign(box.style, {
    left: `${left * 100}%`, top: `${top * 100}%`, width: `${(right - left) * 100}%`, height: `${(bottom - top) * 100}%`,
  });
  return box;
}

function objectsOf(value) {
  const counts = new Map();
  for (const { label } of value.objects) counts.set(label, (counts.get(label) || 0) + 1);
  const said = [...counts].map(([label, count]) => `${count} × ${label}`).join(", ") || "nothing";
  return [element("p", { class: "verdict" }, element("strong", {}, said)),
    element("p", { class: "small" }, `from a score of ${value.at_least.toFixed(2)} on; ${value.width}×${value.height} pixels, ${value.milliseconds.toFixed(1)} ms`)];
}

function answerOf(value) {
  if (value.objects) return objectsOf(value);
  const { decision } = value;
  const said = decision ? ` (${decision.there ? "" : "no "}${decision.label}, by the task's precision)` : "";
  const unsure = value.unknown ? ": perhaps none of these" : "";
  const parts = [element("p", { class: "verdict" }, element("strong", {}, value.label), said + unsure)];
  const list = element("ul", { class: "bars" });
  const sorted = [...value.probabilities].sort((a, b) => b.probability - a.probability);
  for (const { label, probability } of sorted) {
    const fill = element("span", { class: "fill" });
    fill.style.width = `${probability * 100}%`;
    list.append(element("li", { class: label === value.label ? "top" : "" },
      element("span", { class: "name" }, label), element("span", { class: "track" }, fill),
      element("span", { class: "share" }, `${(probability * 100).toFixed(1)}%`)));
  }
  parts.push(list, element("p", { class: "small" }, `${value.width}×${value.height} pixels, ${value.milliseconds.toFixed(1)} ms`));
  return parts;
}

// ---- Asking for an analysis ------------------------------------------------------------------

for (const button of $$("[data-post]")) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await call("POST", button.dataset.post, {});
      location.reload();
    } catch (problem) {
      $(button.dataset.status).replaceChildren(problemBox(problem));
      button.disabled = false;
    }
  });
}

// ---- Doubtful labels -------------------------------------------------------------------------

const relabel = $("#relabel");
if (relabel) {
  const button = $("button[type=submit]", relabel);
  const changes = () => $$("[data-example]", relabel).flatMap((doubt) => {
    const example = Number(doubt.dataset.example);
    const wanted = $("input:checked", doubt)?.value;
    if (wanted === "change") return [{ example, label: doubt.dataset.suggested }];
    return wanted === "remove" ? [{ example, remove: true }] : [];
  });
  const tell = () => {
    const made = changes();
    const removed = made.filter((change) => change.remove).length;
    button.disabled = !made.length;
    $("#relabel-count").textContent = made.length
      ? `${made.length - removed} to relabel, ${removed} to remove.` : "Nothing is changed yet.";
    for (const doubt of $$("[data-example]", relabel)) doubt.dataset.wanted = $("input:checked", doubt)?.value;
  };
  relabel.addEventListener("change", tell);
  // A browser that comes back to the page keeps what was chosen.
  tell();
  relabel.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const made = await call("POST", `/v1/datasets/${relabel.dataset.dataset}/relabel`, { changes: changes() });
      location.href = `/datasets/${made.id}`;
    } catch (problem) {
      $("#relabel-status").replaceChildren(problemBox(problem));
      button.disabled = false;
    }
  });
}

// ---- Draft data sets -------------------------------------------------------------------------

const newDraft = $("#new-draft");
if (newDraft) {
  newDraft.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { name, labels, classes } = newDraft.elements;
    const kinds = [...new Set(classes.value.split(",").map((kind) => kind.trim()).filter(Boolean))];
    try {
      const made = await call("POST", "/v1/drafts", { name: name.value.trim(), labels: labels.value, classes: kinds });
      location.href = `/drafts/${made.id}`;
    } catch (problem) { $("#draft-status").replaceChildren(problemBox(problem)); }
  });
}

for (const button of $$("[data-draft-from]")) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const made = await call("POST", "/v1/drafts", { from: button.dataset.draftFrom });
      location.href = `/drafts/${made.id}`;
    } catch (problem) {
      $("#draft-status").replaceChildren(problemBox(problem));
      button.disabled = false;
    }
  });
}
