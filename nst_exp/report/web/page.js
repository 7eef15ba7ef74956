// Shared by all parts of the page: the data, elements made from text, numbers as text.

const data = JSON.parse(document.getElementById("data").textContent);
const jobs = data.jobs;
const byId = (id) => document.getElementById(id);

// An element with attributes and children; a child that is a string becomes text, never markup.
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function makeSvg(name, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text) element.textContent = text;
  return element;
}

function makeSwatch(color) {
  const swatch = make("span", { class: "swatch" });
  swatch.style.background = color;
  return swatch;
}

// A path as a link to the file; every part is encoded, so that it cannot be another scheme.
function makeLink(path) {
  const href = path.split("/").map(encodeURIComponent).join("/");
  return make("a", { href, target: "_blank", rel: "noopener" }, path);
}

function fill(select, options) {
  select.replaceChildren(...options.map(([value, text]) => make("option", { value }, text)));
}

function hideSection(name) {
  byId(name).hidden = true;
  document.querySelector(`nav a[href="#${name}"]`).hidden = true;
}

function renameSection(name, title) {
  byId(`${name}-title`).textContent = title;
  document.querySelector(`nav a[href="#${name}"]`).textContent = title;
}

function shortNumber(value) {
  if (value === null || value === undefined) return "";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(3);
  return String(Number(value.toPrecision(4)));
}

const nameOf = (job) => `${job.number}: ${job.label}`;

function fillHead() {
  byId("settings").textContent = data.settings;
  const counts = new Map();
  for (const job of jobs) counts.set(job.status, (counts.get(job.status) || 0) + 1);
  const parts = [...counts].map(([status, count]) => `${count} ${status}`);
  byId("counts").textContent = `${jobs.length} ${jobs.length === 1 ? "job" : "jobs"}: ${parts.join(", ")}`;
}

function fillNotes() {
  const found = new Map();
  for (const job of jobs) {
    const lines = job.error ? [`failed: ${job.error}`, ...job.notes] : job.notes;
    for (const line of new Set(lines)) found.set(line, [...(found.get(line) || []), job.number]);
  }
  for (const [line, numbers] of found) {
    const all = numbers.length === jobs.length && jobs.length > 1;
    const who = all ? "all jobs" : `${numbers.length > 1 ? "jobs" : "job"} ${numbers.join(", ")}`;
    byId("note-list").append(make("li", {}, make("strong", {}, `${who}: `), line));
  }
  if (!found.size) hideSection("notes");
}
