// What is selected, filtered and averaged. A view is a function that draws a part of the page from
// this state; all are called after a change.

const state = {
  a: 0, // the selected job
  b: String(jobs.length - 1), // compared with it: a job, or an input such as "input:0"
  over: "", // key that is averaged over
  colorBy: "job", // or a key
  filters: new Map(), // texts, by the column's id
  sort: { id: "job", sign: 1 },
};
const views = [];
const selectionViews = [];

// Lines of the table and of the plots: a job, or all jobs that differ only in the key averaged over.
let entries = [];

function refresh() {
  entries = makeEntries();
  for (const view of views) view();
  mark();
}

function isShown(index) {
  return [...state.filters].every(([id, text]) => makeFilter(text)(columnById.get(id).of(jobs[index])));
}

function makeEntries() {
  const found = new Map();
  jobs.forEach((_, index) => {
    if (isShown(index)) found.set(entryName(index), [...(found.get(entryName(index)) || []), index]);
  });
  const made = [...found].map(([name, members]) => ({ name, jobs: members }));
  const { id, sign } = state.sort;
  const value = (entry) => entryValue(entry, columnById.get(id));
  return made.sort((one, other) => compareValues(value(one), value(other), sign) || one.jobs[0] - other.jobs[0]);
}

// Of a job, or of the group that it belongs to.
function entryName(index) {
  if (!state.over) return nameOf(jobs[index]);
  const pairs = data.varied.map((key, place) => `${key}=${jobs[index].values[place]}`);
  return pairs.filter((_, place) => data.varied[place] !== state.over).join(", ") || "all jobs";
}

function entryValue(entry, column) {
  if (state.over && column.measured) return statistics(entry, column).mean;
  return column.of(jobs[entry.jobs[0]]);
}

// Of the finished jobs of a group.
const finished = (entry) => entry.jobs.filter((index) => jobs[index].status === "done");
function statistics(entry, column) {
  return meanAndDeviation(finished(entry).map((index) => numberIn(column.of(jobs[index]))).filter(Number.isFinite));
}

function setFilter(id, text) {
  if (text.trim()) state.filters.set(id, text);
  else state.filters.delete(id);
  refresh();
}

// ---------------------------------------------------------------------------- selection

// An element with data-jobs belongs to these jobs: a click on it selects the first of them, and
// everything that belongs to a job is marked wherever it is.
let lit = [];
const jobsOf = (element) => element.dataset.jobs.split(" ").map(Number);

function mark() {
  document.body.classList.toggle("lighting", lit.length > 0);
  for (const element of document.querySelectorAll("[data-jobs]")) {
    const own = jobsOf(element);
    element.classList.toggle("lit", own.some((index) => lit.includes(index)));
    element.classList.toggle("is-a", own.includes(state.a));
    element.classList.toggle("is-b", own.map(String).includes(state.b) && jobs.length > 1);
  }
}

function light(indices) {
  if (String(indices) === String(lit)) return;
  lit = indices;
  mark();
}

// Selects a job as A or compares it as B.
function select(side, choice) {
  state[side] = side === "a" ? Number(choice) : String(choice);
  mark();
  for (const view of selectionViews) view();
}

function pick(indices, event) {
  const side = event.shiftKey ? "b" : "a";
  const again = indices.map(String).includes(String(state[side]));
  if (!again) select(side, indices[0]);
  return again;
}

// To the next or the previous job of the table.
function move(by, side) {
  const order = entries.flatMap((entry) => entry.jobs);
  const place = order.indexOf(Number(state[side]));
  const next = order[place < 0 ? 0 : Math.max(0, Math.min(order.length - 1, place + by))];
  if (next !== undefined) select(side, next);
}

function followPointerAndKeys() {
  const owner = (event) => event.target.closest("[data-jobs]");
  for (const kind of ["pointerover", "focusin"]) {
    document.addEventListener(kind, (event) => light(owner(event) ? jobsOf(owner(event)) : []));
  }
  document.addEventListener("click", (event) => {
    const element = owner(event);
    if (!element || dragged || event.target.closest("a, .copy")) return;
    if (document.activeElement.matches(".scroll")) document.activeElement.blur(); // a click focuses it as well
    if (pick(jobsOf(element), event) && element.classList.contains("image")) enlargeJob(element);
  });
  document.addEventListener("keydown", (event) => {
    const scrolls = event.target.matches("input, select, textarea, .scroll"); // with these keys
    if (scrolls || event.altKey || event.ctrlKey || event.metaKey) return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) {
      event.preventDefault();
      move(by, event.shiftKey ? "b" : "a");
    } else if (event.key === "Enter" && event.target.matches("circle[data-jobs]")) {
      pick(jobsOf(event.target), event);
    }
  });
}

// ---------------------------------------------------------------------------- the bar

function fillBar() {
  const keys = data.varied.filter((key) => columnById.get(`key:${key}`)?.differs);
  fill(byId("over"), [["", "nothing"], ...keys.map((key) => [key, key])]);
  fill(byId("color-by"), [["job", "job"], ...keys.map((key) => [key, key])]);
  byId("choices").hidden = !keys.length;
  state.colorBy = defaultColor(keys);
  byId("color-by").value = state.colorBy;
  byId("color-by").addEventListener("change", (event) => { state.colorBy = event.target.value; refresh(); });
  byId("over").addEventListener("change", (event) => {
    state.over = event.target.value;
    if (state.sort.id === `key:${state.over}`) state.sort = { id: "job", sign: 1 };
    if (state.colorBy === state.over) byId("color-by").value = state.colorBy = "job";
    refresh();
  });
  views.push(() => {
    const count = entries.flatMap((entry) => entry.jobs).length;
    byId("shown").textContent = state.filters.size ? `${count} of ${jobs.length} jobs` : "";
    byId("filters").replaceChildren(...[...state.filters].map(([id, text]) => {
      const name = columnById.get(id).name;
      const button = make("button", { type: "button", "aria-label": `Remove the filter of ${name}` }, `${name}: ${text} ×`);
      button.addEventListener("click", () => setFilter(id, ""));
      return button;
    }));
  });
}
