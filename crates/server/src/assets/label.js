// The labelling page: one picture large, classes by key or button, boxes by drag or keyboard. Whatever is
// said is sent at once and shown as saved only when the service has it on disk.
"use strict";

const root = $("#label");
const base = `/v1/drafts/${root.dataset.draft}`;
const boxed = root.dataset.labels === "boxes";
const [stage, picture, canvas, strip] = [$("#stage"), $("#picture"), $("#boxes"), $("#strip")];
const WINDOW = 48; // Thumbnails at a time.
const HANDLES = [[0, 0], [.5, 0], [1, 0], [1, .5], [1, 1], [.5, 1], [0, 1], [0, .5]];

let classes = [];
let examples = []; // In the order of their numbers.
let order = []; // Places in `examples`, in the order shown.
let at = 0; // A place in `order`.
let chosen = 0; // The class of the next box.
let selected = -1; // A box of the picture shown.
const undone = []; // Steps that can be taken back, the last at the end.

const current = () => examples[order[at]];
const boxesOf = (example) => example.label?.boxes ?? [];
const open = (example) => example.state === "unlabelled";

// ---- Saving ----------------------------------------------------------------------------------

const waiting = new Map(); // Example number to the body that is to be sent last.
const refused = new Map(); // Example number to the problem that the service has with it.
let sending = false;
let retry = 0;
let retryAt = null;

const bodyOf = (example) => {
  if (example.state === "skipped") return { skip: true };
  if (example.state === "unlabelled") return { clear: true };
  return example.label;
};

function tellSaved() {
  const mark = $("#saved");
  const bad = refused.size || retry > 1;
  mark.className = `saved ${bad ? "failed" : waiting.size ? "busy" : "good"}`;
  if (refused.size) mark.replaceChildren("Not saved ");
  else if (retry > 1) mark.replaceChildren(`Not saved (${waiting.size}) `);
  else mark.replaceChildren(waiting.size ? "Saving …" : "Saved");
  if (bad) {
    const again = element("button", { type: "button" }, "Try again");
    again.addEventListener("click", () => {
      for (const index of refused.keys()) waiting.set(index, bodyOf(examples[index]));
      refused.clear();
      clearTimeout(retryAt);
      send();
    });
    mark.append(again);
  }
  $("#label-problem").replaceChildren(...[...refused.values()].slice(0, 1).map(problemBox));
}

// One request at a time: of several changes of one picture only the last is sent.
async function send() {
  if (sending) return;
  sending = true;
  while (waiting.size) {
    tellSaved();
    const [index, body] = waiting.entries().next().value;
    try {
      await call("PATCH", `${base}/examples/${index}`, body);
      if (waiting.get(index) === body) waiting.delete(index);
      retry = 0;
    } catch (problem) {
      // What the service refuses it will refuse again; what did not reach it is sent again.
      if (problem.status >= 400 && problem.status < 500 && problem.status !== 408) {
        waiting.delete(index);
        refused.set(index, problem);
      } else {
        retry++;
        clearTimeout(retryAt);
        retryAt = setTimeout(send, Math.min(30, 2 ** retry) * 500);
        break;
      }
    }
  }
  sending = false;
  tellSaved();
}

window.addEventListener("beforeunload", (event) => { if (waiting.size || refused.size) event.preventDefault(); });

// Sets what is said of a picture; `step` says whether it can be taken back.
function say(example, state, label, step = true) {
  if (step) undone.push([{ index: example.index, state: example.state, label: example.label }]);
  example.state = state;
  example.label = label;
  refused.delete(example.index);
  waiting.delete(example.index);
  waiting.set(example.index, bodyOf(example));
  send();
  drawStrip();
  drawCount();
}

// ---- Drawing ---------------------------------------------------------------------------------

const svg = (tag, attributes) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};
const colour = (name) => `k${Math.max(0, classes.indexOf(name)) % 8}`;

function drawBox(box, kind, scale, width, height) {
  const [x, y, w, h] = [box.x * width, box.y * height, box.width * width, box.height * height];
  const group = svg("g", { class: `${colour(box.class)} ${kind}` });
  group.append(svg("rect", { x, y, width: w, height: h }));
  const name = svg("text", { x: x + 3 * scale, y: Math.max(y - 4 * scale, 12 * scale), "font-size": 13 * scale });
  name.textContent = box.class;
  group.append(name);
  if (kind.includes("selected")) {
    for (const [u, v] of HANDLES) {
      group.append(svg("rect", { class: "handle", x: x + u * w - 4 * scale, y: y + v * h - 4 * scale, width: 8 * scale, height: 8 * scale }));
    }
  }
  return group;
}

function drawBoxes() {
  const example = current();
  canvas.replaceChildren();
  if (!example || !boxed) return;
  const { width, height } = example;
  canvas.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const scale = width / (canvas.clientWidth || width);
  const shown = drag?.boxes ?? boxesOf(example);
  if (open(example) && !drag) for (const box of example.suggestion?.boxes ?? []) canvas.append(drawBox(box, "suggested", scale, width, height));
  shown.forEach((box, i) => { if (i !== selected) canvas.append(drawBox(box, "", scale, width, height)); });
  if (shown[selected]) canvas.append(drawBox(shown[selected], "selected", scale, width, height));
  const remove = $("[data-do=remove]");
  if (remove) remove.hidden = selected < 0;
}

function words(example) {
  if (example.state === "skipped") return "left out";
  if (open(example)) return "no label yet";
  if (!boxed) return example.label.class;
  const names = boxesOf(example).map((box) => box.class);
  return names.length ? names.join(", ") : "nothing here";
}

function drawKinds() {
  const example = current();
  $("#kinds").replaceChildren(...classes.map((name, i) => {
    const on = boxed ? i === chosen : example?.label?.class === name;
    const suggested = !boxed && example && open(example) && example.suggestion?.class === name;
    const button = element("button", { type: "button", class: `kind-button k${i % 8}${suggested ? " suggested" : ""}`, "aria-pressed": on });
    button.append(element("kbd", {}, i < 9 ? `${i + 1}` : ""), element("span", { class: "swatch" }), element("span", { class: "grow" }, name));
    if (suggested) button.append(element("span", { class: "small" }, `${Math.round(100 * (1 - example.doubt))}%`));
    button.addEventListener("click", () => { choose(i); stage.focus({ preventScroll: true }); });
    return button;
  }));
  const accept = $("[data-do=accept]");
  accept.hidden = !(example && open(example) && example.suggestion);
}

function drawCount() {
  const labelled = examples.filter((e) => e.state === "labelled").length;
  const skipped = examples.filter((e) => e.state === "skipped").length;
  $("#label-count").textContent = `${labelled} of ${examples.length} labelled${skipped ? `, ${skipped} left out` : ""}`;
  $("#label-bar").style.width = `${(100 * (labelled + skipped)) / Math.max(1, examples.length)}%`;
}

function drawStrip() {
  const first = Math.floor(at / WINDOW) * WINDOW;
  const known = new Map([...strip.children].map((child) => [child.dataset.index, child]));
  const shown = order.slice(first, first + WINDOW).map((place, i) => {
    const example = examples[place];
    const button = known.get(`${example.index}`) ?? thumbnail(example);
    button.className = `thumb ${example.state}`;
    if (first + i === at) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
    button.setAttribute("aria-label", `Picture ${example.index + 1}, ${words(example)}`);
    button.onclick = () => { show(first + i); stage.focus({ preventScroll: true }); };
    return button;
  });
  if (shown.length !== strip.children.length || shown.some((child, i) => child !== strip.children[i])) strip.replaceChildren(...shown);
}

function thumbnail(example) {
  const button = element("button", { type: "button", "data-index": example.index, title: example.path, tabindex: -1 });
  button.append(element("img", { src: `${example.image}?size=160`, alt: "", loading: "lazy", width: 72, height: 72 }));
  return button;
}

function show(place) {
  if (!order.length) return;
  at = Math.max(0, Math.min(order.length - 1, place));
  selected = -1;
  drag = null;
  const example = current();
  picture.width = example.width;
  picture.height = example.height;
  stage.style.setProperty("--ratio", example.width / example.height);
  picture.src = `${example.image}?size=1600`;
  picture.alt = example.path;
  $("#label-place").textContent = `${at + 1} of ${order.length} · ${example.path}`;
  tell();
  drawBoxes();
  drawKinds();
  drawStrip();
  const thumb = $("[aria-current]", strip);
  // Only the strip moves, not the page under a person's hands.
  if (thumb) strip.scrollTo({ left: thumb.offsetLeft - strip.clientWidth / 2 + thumb.clientWidth / 2 });
  const next = examples[order[at + 1]];
  if (next) new Image().src = `${next.image}?size=1600`;
}

const tell = () => { $("#stage-said").textContent = `Picture ${at + 1} of ${order.length}: ${words(current())}`; };
const redraw = () => { drawBoxes(); drawKinds(); tell(); };

// ---- What a person does ----------------------------------------------------------------------

function setBoxes(boxes, step = true) {
  // Without its last box a picture is open again: that it shows nothing is said on purpose.
  if (boxes.length) say(current(), "labelled", { boxes }, step);
  else say(current(), "unlabelled", null, step);
  redraw();
}

function choose(i) {
  if (i >= classes.length || !current()) return;
  if (!boxed) {
    say(current(), "labelled", { class: classes[i] });
    return forward();
  }
  chosen = i;
  if (selected >= 0) setBoxes(boxesOf(current()).map((box, k) => (k === selected ? { ...box, class: classes[i] } : box)));
  else drawKinds();
}

// To the next picture without a label, or just the next one.
function forward() {
  const after = order.findIndex((place, i) => i > at && open(examples[place]));
  const any = after >= 0 ? after : order.findIndex((place) => open(examples[place]));
  if (any >= 0) show(any); else { show(at); if (order.length) $("#stage-said").textContent = "Every picture has a label."; }
}

function undo() {
  const step = undone.pop();
  if (!step) return;
  for (const { index, state, label } of step) say(examples[index], state, label, false);
  const place = order.indexOf(step[0].index);
  if (place >= 0) show(place); else redraw();
}

const actions = {
  before: () => show(at - 1),
  after: () => show(at + 1),
  next: forward,
  undo,
  nothing() {
    if (boxed) say(current(), "labelled", { boxes: [] }); else say(current(), "skipped", null);
    forward();
  },
  skip() { say(current(), "skipped", null); forward(); },
  accept() {
    const example = current();
    if (!open(example) || !example.suggestion) return;
    say(example, "labelled", structuredClone(example.suggestion));
    if (boxed && boxesOf(example).length) redraw(); else forward();
  },
  remove() {
    if (selected < 0) return;
    const left = boxesOf(current()).filter((_, i) => i !== selected);
    selected = -1;
    setBoxes(left);
  },
  doubtful() {
    const key = (place) => (open(examples[place]) ? examples[place].doubt ?? -1 : -2);
    order = examples.map((_, i) => i).sort((a, b) => key(b) - key(a) || a - b);
    show(0);
    root.scrollIntoView({ block: "start" });
  },
};
for (const button of $$("[data-do]")) {
  button.addEventListener("click", () => { if (current()) actions[button.dataset.do](); stage.focus({ preventScroll: true }); });
}

const clamp = (value, least, most) => Math.max(least, Math.min(most, value));

// A box from two corners, within the picture.
function between(a, b, name) {
  const [left, right] = [Math.min(a.x, b.x), Math.max(a.x, b.x)].map((v) => clamp(v, 0, 1));
  const [top, bottom] = [Math.min(a.y, b.y), Math.max(a.y, b.y)].map((v) => clamp(v, 0, 1));
  return { class: name, x: left, y: top, width: right - left, height: bottom - top };
}
const moved = (box, dx, dy) => ({ ...box, x: clamp(box.x + dx, 0, 1 - box.width), y: clamp(box.y + dy, 0, 1 - box.height) });

// ---- Boxes by mouse, pen or finger -----------------------------------------------------------

let drag = null;

const pointOf = (event) => {
  const frame = canvas.getBoundingClientRect();
  return { x: (event.clientX - frame.left) / frame.width, y: (event.clientY - frame.top) / frame.height, frame };
};

// The handle of the selected box under a point, as which of its sides follow.
function handleAt(box, point, reach) {
  const near = HANDLES.map(([u, v]) => [u, v, Math.hypot((box.x + u * box.width - point.x) * point.frame.width, (box.y + v * box.height - point.y) * point.frame.height)]);
  const [u, v, distance] = near.sort((a, b) => a[2] - b[2])[0];
  return distance <= reach ? { u, v } : null;
}
const within = (box, point) => point.x >= box.x && point.x <= box.x + box.width && point.y >= box.y && point.y <= box.y + box.height;
const smallestAt = (boxes, point) => boxes.map((box, i) => [box, i]).filter(([box]) => within(box, point))
  .sort(([a], [b]) => a.width * a.height - b.width * b.height)[0]?.[1] ?? -1;

if (boxed) {
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !current() || !classes.length) return;
    const point = pointOf(event);
    const boxes = boxesOf(current());
    const box = boxes[selected];
    const handle = box && !event.shiftKey ? handleAt(box, point, event.pointerType === "touch" ? 22 : 10) : null;
    const kind = handle ? "resize" : box && within(box, point) && !event.shiftKey ? "move" : "draw";
    drag = { kind, handle, start: point, before: boxes, boxes, far: false };
    stage.setPointerCapture(event.pointerId);
    stage.focus({ preventScroll: true });
    event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => {
    const point = pointOf(event);
    if (!drag) {
      const box = boxesOf(current() ?? {})[selected];
      const handle = box && handleAt(box, point, 10);
      stage.style.cursor = handle ? (handle.u === .5 ? "ns-resize" : handle.v === .5 ? "ew-resize" : (handle.u === handle.v ? "nwse-resize" : "nesw-resize")) : box && within(box, point) ? "move" : "crosshair";
      return;
    }
    const [dx, dy] = [point.x - drag.start.x, point.y - drag.start.y];
    drag.far ||= Math.hypot(dx * point.frame.width, dy * point.frame.height) > 4;
    if (!drag.far) return;
    const old = drag.before[selected];
    if (drag.kind === "draw") {
      drag.boxes = [...drag.before, between(drag.start, point, classes[chosen])];
      selected = drag.before.length;
    } else if (drag.kind === "move") {
      drag.boxes = drag.before.map((box, i) => (i === selected ? moved(old, dx, dy) : box));
    } else {
      const { u, v } = drag.handle;
      const [right, bottom] = [old.x + old.width, old.y + old.height];
      const [a, b] = [{ x: u === 0 ? old.x + dx : old.x, y: v === 0 ? old.y + dy : old.y }, { x: u === 1 ? right + dx : right, y: v === 1 ? bottom + dy : bottom }];
      drag.boxes = drag.before.map((box, i) => (i === selected ? between(a, b, old.class) : box));
    }
    drawBoxes();
  });
  const end = (event, keep) => {
    if (!drag) return;
    const { kind, boxes, before, far, start } = drag;
    drag = null;
    if (!keep) { if (kind === "draw" && far) selected = -1; return drawBoxes(); }
    if (!far) {
      // A click, which selects.
      selected = smallestAt(before, start);
      if (selected >= 0) chosen = Math.max(0, classes.indexOf(before[selected].class));
      return redraw();
    }
    const made = boxes[selected];
    // Thinner than two pixels on the screen is a slip of the hand.
    const { frame } = pointOf(event);
    if (made.width * frame.width < 2 || made.height * frame.height < 2) { if (kind === "draw") selected = -1; return redraw(); }
    setBoxes(boxes);
  };
  stage.addEventListener("pointerup", (event) => end(event, true));
  stage.addEventListener("pointercancel", (event) => end(event, false));
  new ResizeObserver(drawBoxes).observe(canvas);
}

// ---- Keys ------------------------------------------------------------------------------------

function arrow(key, event) {
  const box = boxesOf(current())[selected];
  if (!box) return key === "ArrowLeft" ? actions.before() : key === "ArrowRight" ? actions.after() : undefined;
  const step = event.shiftKey ? .002 : .01;
  const [dx, dy] = [{ ArrowLeft: -step, ArrowRight: step }[key] ?? 0, { ArrowUp: -step, ArrowDown: step }[key] ?? 0];
  const grown = { ...box, width: clamp(box.width + dx, .005, 1 - box.x), height: clamp(box.height + dy, .005, 1 - box.y) };
  const made = event.altKey ? grown : moved(box, dx, dy);
  setBoxes(boxesOf(current()).map((other, i) => (i === selected ? made : other)));
}

function newBox() {
  const boxes = boxesOf(current());
  selected = boxes.length;
  setBoxes([...boxes, { class: classes[chosen], x: .4, y: .4, width: .2, height: .2 }]);
}

document.addEventListener("keydown", (event) => {
  if (!current() || event.target.matches("input, select, textarea")) return;
  const key = event.key;
  if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "z") { event.preventDefault(); return undo(); }
  if (event.ctrlKey || event.metaKey) return;
  const onStage = event.target === stage || event.target === document.body;
  const run = () => {
    if (/^[1-9]$/.test(key)) return choose(Number(key) - 1);
    if (key.startsWith("Arrow") && (onStage || key === "ArrowLeft" || key === "ArrowRight")) return arrow(key, event);
    if (key === "0") return actions.nothing();
    if (key === "Enter" && onStage) return forward();
    if (key === "Escape") { selected = -1; drag = null; return redraw(); }
    if ((key === "Delete" || key === "Backspace") && boxed) return actions.remove();
    if (key === "Tab" && boxed && event.target === stage && boxesOf(current()).length) {
      // Past the last box, Tab goes on through the page.
      const next = selected + (event.shiftKey ? -1 : 1);
      if (next >= boxesOf(current()).length || next < 0) { selected = -1; redraw(); return false; }
      selected = next;
      return redraw();
    }
    const letter = { a: "accept", s: "skip", z: "undo" }[key.toLowerCase()];
    if (letter) return actions[letter]();
    if (key.toLowerCase() === "b" && boxed && classes.length) return newBox();
    return false;
  };
  if (run() !== false) event.preventDefault();
});

// ---- Kinds, pictures, suggestions, sealing ---------------------------------------------------

async function load() {
  const draft = await call("GET", base);
  classes = draft.classes;
  const found = [];
  for (let after = ""; after !== null;) {
    const page = await call("GET", `${base}/examples?limit=500${after}`);
    found.push(...page.items);
    after = page.next === null ? null : `&after=${page.next}`;
  }
  // What is not saved yet is newer than what the service knows.
  examples = found.map((example) => (waiting.has(example.index) || refused.has(example.index) ? { ...example, state: examples[example.index].state, label: examples[example.index].label } : example));
  const before = current()?.index;
  order = examples.map((_, i) => i);
  root.hidden = !examples.length;
  drawCount();
  drawBulk();
  if (!examples.length) return;
  const first = before ?? order.find((place) => open(examples[place])) ?? 0;
  show(order.indexOf(first));
}

$("#add-kind").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = $("#kind");
  try {
    classes = (await call("PATCH", base, { add_classes: [input.value.trim()] })).classes;
    input.value = "";
    $("#label-problem").replaceChildren();
    redraw();
    stage.focus({ preventScroll: true });
  } catch (problem) { $("#label-problem").replaceChildren(problemBox(problem)); }
});

function post(url, file, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", url);
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

$("#pictures").addEventListener("change", async (event) => {
  const input = event.target;
  const files = [...input.files].sort((a, b) => a.name.localeCompare(b.name));
  if (!files.length) return;
  const [status, bar] = [$("#add-status"), $("#add-bar")];
  const problems = [];
  let [added, copies, broken] = [0, 0, []];
  input.disabled = true;
  bar.hidden = false;
  for (const [i, file] of files.entries()) {
    status.replaceChildren(element("p", {}, files.length > 1 ? `Sending ${i + 1} of ${files.length} …` : `Sending ${file.name} …`));
    try {
      const came = await post(`${base}/pictures?name=${encodeURIComponent(file.name.slice(-200))}`, file, (done, total) => {
        bar.firstElementChild.style.width = `${(100 * (i + done / total)) / files.length}%`;
      });
      added += came.added;
      copies += came.copies;
      broken = broken.concat(came.broken);
    } catch (problem) { problems.push({ ...problem, title: `${file.name}: ${problem.title}` }); }
  }
  bar.hidden = true;
  input.disabled = false;
  input.value = "";
  const said = [`${added} added`];
  if (copies) said.push(`${copies} were there already`);
  if (broken.length) said.push(`${broken.length} could not be used, e.g. ${broken[0].path}: ${broken[0].reason}`);
  status.replaceChildren(element("p", {}, `${said.join(", ")}.`), ...problems.slice(0, 5).map(problemBox));
  await load();
  if (added) root.scrollIntoView({ block: "start" });
});

// The surest first, as far as the slider says.
function sure() {
  const most = 1 - Number($("#doubt").value) / 100 + 1e-9;
  return examples.filter((e) => open(e) && e.suggestion && e.doubt <= most).sort((a, b) => b.doubt - a.doubt);
}

const suggested = ({ class: name, boxes }) => name ?? (boxes.map((box) => box.class).join(", ") || "nothing");

function drawBulk() {
  const any = examples.some((e) => open(e) && e.suggestion);
  $("#bulk").hidden = !any;
  if (!any) return;
  const taken = sure();
  $("#sure").textContent = `${$("#doubt").value}%`;
  $("#bulk-accept").textContent = taken.length ? `Take ${taken.length}` : "Take none";
  $("#bulk-accept").disabled = !taken.length;
  // Those that most need a look: the least sure of what would be taken.
  $("#bulk-grid").replaceChildren(...taken.slice(0, 24).map((example) => {
    const figure = element("button", { type: "button", class: "thumb-said", title: example.path });
    figure.append(element("img", { src: `${example.image}?size=160`, alt: "", loading: "lazy" }),
      element("span", { class: "small" }, `${suggested(example.suggestion)} ${Math.round(100 * (1 - example.doubt))}%`));
    figure.addEventListener("click", () => { show(order.indexOf(example.index)); root.scrollIntoView({ block: "start" }); stage.focus({ preventScroll: true }); });
    return figure;
  }));
}
$("#doubt").addEventListener("input", drawBulk);

$("#bulk-accept").addEventListener("click", async (event) => {
  event.target.disabled = true;
  try {
    const wanted = sure().map((e) => e.index);
    const { accepted } = await call("POST", `${base}/accept`, { examples: wanted });
    undone.push(accepted.map((index) => ({ index, state: "unlabelled", label: null })));
    for (const index of accepted) Object.assign(examples[index], { state: "labelled", label: structuredClone(examples[index].suggestion) });
    $("#suggest-status").replaceChildren(element("p", {}, `${accepted.length} taken. Undo takes them back.`));
    drawCount();
    drawStrip();
    redraw();
  } catch (problem) { $("#suggest-status").replaceChildren(problemBox(problem)); }
  drawBulk();
});

$("#suggest")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const [status, button, model] = [$("#suggest-status"), $("#suggest button"), $("#suggest-model").value];
  button.disabled = true;
  try {
    let asked = 0;
    for (let remaining = 1; remaining > 0;) {
      status.replaceChildren(element("p", {}, asked ? `Looked at ${asked} …` : "Looking …"));
      const answer = await call("POST", `${base}/suggestions`, { model, limit: 50 });
      asked += answer.asked;
      remaining = answer.asked ? answer.remaining : 0;
    }
    status.replaceChildren(element("p", {}, asked ? `Looked at ${asked}.` : "It was asked about every picture without a label."));
    await load();
  } catch (problem) { status.replaceChildren(problemBox(problem)); }
  button.disabled = false;
});

$("#seal").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [status, button] = [$("#seal-status"), $("#seal button")];
  button.disabled = true;
  try {
    if (waiting.size || refused.size) throw { title: "Not everything is saved yet", detail: "Wait a moment, or try saving again." };
    status.replaceChildren(element("p", {}, "Reading and dividing the pictures …"));
    const made = await call("POST", `${base}/seal`, { name: $("#seal-name").value.trim() });
    const link = element("a", { class: "button", id: "sealed", href: `/datasets/${made.id}` }, "Grow a model from it");
    status.replaceChildren(element("p", {}, `Sealed: ${made.summary.examples} pictures.`), element("p", { class: "actions" }, link));
  } catch (problem) { status.replaceChildren(problemBox(problem)); }
  button.disabled = false;
});

load().then(tellSaved, (problem) => $("#add-status").replaceChildren(problemBox(problem)));
