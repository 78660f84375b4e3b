"use strict";
const $ = (id) => document.getElementById(id);
const paper = $("paper"), seen = $("seen"), best = $("best"), trouble = $("trouble");
const THICK = 0.13; // of a stroke, by the height of what the model gets
const FINE = 12; // points that a pixel of the model is averaged from, in each direction
let model = null, height = 0, width = 0;
let strokes = [], open = null; // each a list of [x, y], from 0 to 1 by the paper's width
let pen = null; // where the keyboard's pen is, and whether it is down
let asked = 0, shown = 0, timer = 0;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
const percent = (p) => `${(100 * p).toFixed(1)} %`;

// ------------------------------------------------------------------------------------ drawing

function trace(context, list, place, thick) {
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = thick;
  for (const stroke of list) {
    context.beginPath();
    stroke.forEach(([x, y], k) => context[k ? "lineTo" : "moveTo"](...place(x, y)));
    if (stroke.length === 1) context.lineTo(...place(...stroke[0]));
    context.stroke();
  }
}

function paint() {
  const scale = Math.max(1, window.devicePixelRatio || 1), box = paper.clientWidth;
  const tall = Math.round(box * height / width);
  paper.width = Math.round(box * scale);
  paper.height = Math.round(tall * scale);
  const context = paper.getContext("2d");
  context.scale(scale, scale);
  context.strokeStyle = colour("--ink");
  trace(context, strokes, (x, y) => [x * box, y * box], 0.07 * box);
  if (pen && document.activeElement === paper) {
    context.strokeStyle = context.fillStyle = colour("--link");
    context.lineWidth = 3;
    context.beginPath();
    context.arc(pen.x * box, pen.y * box, 0.035 * box, 0, 7);
    pen.down ? context.fill() : context.stroke();
  }
  $("undo").disabled = $("clear").disabled = !strokes.length;
}

// The drawing as the model was trained: its box fills the image (with MNIST's margin in larger ones), bright on dark.
function pixels() {
  const points = strokes.flat(), [xs, ys] = [0, 1].map((k) => points.map((p) => p[k]));
  const [left, right] = [Math.min(...xs), Math.max(...xs)], [top, bottom] = [Math.min(...ys), Math.max(...ys)];
  const margin = Math.min(height, width) >= 20 ? 1 / 7 : 0, thick = THICK * height;
  const room = [width, height].map((n) => n * (1 - 2 * margin) - thick);
  const scale = Math.min(room[0] / Math.max(right - left, 0.25), room[1] / Math.max(bottom - top, 0.25));
  const [cx, cy] = [(left + right) / 2, (top + bottom) / 2];
  const fine = document.createElement("canvas");
  fine.width = width * FINE;
  fine.height = height * FINE;
  const context = fine.getContext("2d", {willReadFrequently: true});
  context.fillRect(0, 0, fine.width, fine.height);
  context.strokeStyle = "#fff";
  trace(context, strokes, (x, y) => [(width / 2 + (x - cx) * scale) * FINE, (height / 2 + (y - cy) * scale) * FINE], thick * FINE);
  const data = context.getImageData(0, 0, fine.width, fine.height).data, found = [];
  for (let r = 0; r < height; r++) {
    found.push([]);
    for (let c = 0; c < width; c++) {
      let sum = 0;
      for (let i = 0; i < FINE; i++) for (let j = 0; j < FINE; j++) sum += data[4 * ((r * FINE + i) * fine.width + c * FINE + j)];
      found[r].push(sum / (FINE * FINE * 255));
    }
  }
  return found;
}

function preview(image) {
  seen.width = width;
  seen.height = height;
  const context = seen.getContext("2d"), picture = context.createImageData(width, height);
  image.flat().forEach((v, k) => picture.data.set([255 * v, 255 * v, 255 * v, 255], 4 * k));
  context.putImageData(picture, 0, 0);
}

// ----------------------------------------------------------------------------------- asking

function changed(pause) {
  paint();
  if (!timer) timer = setTimeout(ask, pause);
}

async function ask() {
  timer = 0;
  const number = ++asked;
  trouble.textContent = "";
  if (!strokes.length) {
    shown = number;
    seen.getContext("2d").clearRect(0, 0, seen.width, seen.height);
    best.textContent = "–";
    bars([]);
    return;
  }
  const image = pixels(), only = model.inputs[0];
  preview(image);
  const scaled = only.dtype === "uint8" ? image.map((row) => row.map((v) => Math.round(255 * v))) : image;
  const body = JSON.stringify({inputs: only.shape.length === 3 ? [scaled] : scaled});
  try {
    const answer = await fetch("predict", {method: "POST", headers: {"Content-Type": "application/json"}, body});
    const found = await answer.json();
    if (number < shown) return; // a later one was faster
    shown = number;
    if (answer.status === 429 || answer.status === 503) {
      trouble.textContent = `${found.error}; trying again …`;
      if (!timer) timer = setTimeout(ask, 1000 * (Number(answer.headers.get("Retry-After")) || 1));
    } else if (!answer.ok) trouble.textContent = found.error;
    else show(Object.values(found.outputs)[0][0]);
  } catch (error) {
    if (number >= shown) trouble.textContent = `No answer from the server (${error.message}).`;
  }
}

function show(values) {
  const order = values.map((_, k) => k).sort((a, b) => values[b] - values[a]), first = order[0];
  const strong = document.createElement("b");
  strong.textContent = first;
  best.replaceChildren(strong, model.probabilities ? `with ${percent(values[first])}` : `score ${values[first].toPrecision(4)}`);
  bars(values, order);
}

// all classes in order, or the ten first of many
function bars(values, order = []) {
  const classes = values.length > 16 ? order.slice(0, 10) : [...values.keys()];
  const [low, high] = model.probabilities ? [0, 1] : [Math.min(...values), Math.max(...values)];
  const list = $("bars");
  while (list.children.length > classes.length) list.lastChild.remove();
  classes.forEach((k, place) => {
    let row = list.children[place];
    if (!row) {
      row = document.createElement("li");
      for (const name of ["name", "track", "value"]) row.append(Object.assign(document.createElement("span"), {className: name}));
      row.children[1].append(document.createElement("i"));
      list.append(row);
    }
    row.className = k === order[0] ? "first" : "";
    row.children[0].textContent = k;
    row.children[1].firstChild.style.width = `${100 * (values[k] - low) / (high - low || 1)}%`;
    row.children[2].textContent = model.probabilities ? percent(values[k]) : values[k].toPrecision(4);
  });
}

// ----------------------------------------------------------------------------------- hands

const at = (event) => {
  const box = paper.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.width];
};
const edge = () => height / width;
const within = ([x, y]) => [Math.min(1, Math.max(0, x)), Math.min(edge(), Math.max(0, y))];

paper.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  event.preventDefault();
  paper.setPointerCapture(event.pointerId);
  pen = null;
  open = {id: event.pointerId, stroke: [within(at(event))]};
  strokes.push(open.stroke);
  changed(150);
});
paper.addEventListener("pointermove", (event) => {
  if (!open || event.pointerId !== open.id) return;
  for (const e of event.getCoalescedEvents?.() ?? [event]) open.stroke.push(within(at(e)));
  changed(150);
});
for (const kind of ["pointerup", "pointercancel"]) paper.addEventListener(kind, (event) => {
  if (open && event.pointerId === open.id) open = null;
  changed(30);
});

function undo() {
  strokes.pop();
  if (pen) pen.down = false;
  changed(0);
}
function clear() {
  strokes = [];
  pen = null;
  changed(0);
}
$("undo").addEventListener("click", undo);
$("clear").addEventListener("click", () => { clear(); paper.focus(); });

paper.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
  if (!step && ![" ", "Backspace", "Escape"].includes(event.key)) return;
  event.preventDefault();
  if (event.key === "Backspace") return undo();
  if (event.key === "Escape") return clear();
  pen ??= {x: 0.5, y: 0.5 * edge(), down: false};
  if (event.key === " ") {
    pen.down = !pen.down;
    if (pen.down) strokes.push([[pen.x, pen.y]]);
  } else {
    [pen.x, pen.y] = within([pen.x + step[0] / 24, pen.y + step[1] / 24]);
    if (pen.down) strokes.at(-1).push([pen.x, pen.y]);
  }
  changed(150);
});
for (const kind of ["focus", "blur"]) paper.addEventListener(kind, paint);
window.addEventListener("resize", paint);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);

// ----------------------------------------------------------------------------------- beginning

const zeros = (shape) => shape.reduceRight((inner, size) => `[${Array(Math.min(size, 2)).fill(inner).join(", ")}${size > 2 ? ", …" : ""}]`, "0");

async function begin() {
  model = await (await fetch("model")).json();
  const size = model.inputs.map((i) => `${i.name}: ${i.dtype} (${i.shape.join(", ")})`).join("; ");
  const inputs = model.inputs.map((i) => zeros(i.shape));
  const value = inputs.length > 1 ? `{${model.inputs.map((i, k) => `"${i.name}": ${inputs[k]}`).join(", ")}}` : inputs[0];
  let text = `curl ${location.origin}/predict -H 'Content-Type: application/json' -d '{"inputs": ${value}}'`;
  if (model.image) text += `\ncurl ${location.origin}/predict -H 'Content-Type: image/png' --data-binary @image.png`;
  $("curl").textContent = text;
  $("about").textContent = `${model.name} takes ${size}`;
  const drawn = model.image?.channels === 1 && model.outputs.length === 1 && model.outputs[0].shape.length === 1;
  if (!drawn) {
    $("title").textContent = "Predictions";
    return;
  }
  ({height, width} = model.image);
  if (!model.probabilities) $("result-title").textContent = "Scores";
  $("draw").hidden = false;
  paint();
}
begin().catch((error) => { $("about").textContent = `No answer from the server (${error.message}).`; })
  .finally(() => { document.documentElement.dataset.drawn = "yes"; });
