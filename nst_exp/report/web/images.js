// The inputs, the contact sheet and the snapshots over time.

function fillInputs() {
  data.inputs.forEach((input, place) => {
    const owners = jobs.map((_, index) => index).filter((index) => jobs[index].inputs.includes(place));
    const image = input.image
      ? imageButton({ src: input.image, name: input.name, path: input.path })
      : make("div", { class: "none quiet" }, "not available");
    const figure = make("figure", {}, image, make("figcaption", {}, input.name));
    figure.dataset.inputOf = owners.join(" ");
    byId("inputs").append(figure);
  });
  const show = () => {
    for (const figure of byId("inputs").children) {
      figure.classList.toggle("is-used", figure.dataset.inputOf.split(" ").includes(String(state.a)));
    }
  };
  selectionViews.push(show);
  show();
}

// An image that a click enlarges.
function imageButton({ src, name, path }) {
  const button = make("button", { type: "button", class: "enlarge", title: `${name}: enlarge` }, make("img", { src, alt: name }));
  button.addEventListener("click", () => enlarge({ src, name, path }));
  return button;
}

function fillSheets() {
  if (jobs.length === 1) {
    renameSection("sheet", "Result");
    byId("sheet-hint").textContent = "Click an image to enlarge it.";
  }
  for (const sheet of data.sheets) {
    if (sheet.title) byId("sheets").append(make("h3", {}, sheet.title));
    const wrapped = !sheet.columns.length;
    const content = wrapped ? wrappedSheet(sheet) : gridSheet(sheet);
    const holder = make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": sheet.title || "Sheet" }, content);
    byId("sheets").append(wrapped ? content : holder);
  }
  views.push(() => {
    const shown = new Set(entries.flatMap((entry) => entry.jobs));
    for (const cell of document.querySelectorAll("#sheets [data-jobs], #time [data-jobs]")) {
      cell.classList.toggle("out", !shown.has(Number(cell.dataset.jobs)));
    }
  });
}

// A heading such as "beta=5" that may be broken after the key.
function makeHeading(scope, name) {
  const [key, ...rest] = name.split("=");
  return make("th", { scope }, `${key}=`, make("wbr"), rest.join("="));
}

function gridSheet(sheet) {
  const head = make("tr", {}, ...sheet.columns.map((name) => makeHeading("col", name)));
  if (sheet.rows.length) head.prepend(make("td", { class: "corner" }));
  const rows = sheet.cells.map((cells, row) => {
    const line = make("tr", {}, ...cells.map((index) => make("td", {}, sheetCell(index))));
    if (sheet.rows.length) line.prepend(makeHeading("row", sheet.rows[row]));
    return line;
  });
  const table = make("table", { class: "grid" }, make("thead", {}, head), make("tbody", {}, ...rows));
  table.style.minWidth = `${sheet.columns.length * 72 + (sheet.rows.length ? 90 : 0)}px`;
  table.style.width = `${sheet.columns.length * 270 + (sheet.rows.length ? 150 : 0)}px`;
  return table;
}

function wrappedSheet(sheet) {
  const figures = sheet.cells.flat().filter((index) => index >= 0).map((index) =>
    make("figure", {}, sheetCell(index), make("figcaption", {}, jobs[index].label)));
  return make("div", { class: jobs.length > 1 ? "tiles" : "single" }, ...figures);
}

function sheetCell(index) {
  if (index < 0) return make("div", { class: "none quiet" }, "no such job");
  const job = jobs[index];
  const title = job.error || nameOf(job);
  const owner = { type: "button", title, "data-jobs": index };
  if (job.image && job.status === "done") {
    return make("button", { ...owner, class: "cell image" }, make("img", { src: job.image, alt: nameOf(job), loading: "lazy" }));
  }
  const status = statusOf(job);
  if (job.status === "running") status.textContent = "unfinished";
  if (job.status === "done") status.textContent = "no image";
  return make("button", { ...owner, class: "cell none" }, status);
}

// ---------------------------------------------------------------------------- over time

function fillTime() {
  const steps = [...new Set(jobs.flatMap((job) => job.snapshots.map(([step]) => step)))].sort((a, b) => a - b);
  if (!steps.length) { hideSection("time"); return; }
  const shown = jobs.map((job, index) => ({ job, index })).filter(({ job }) => job.snapshots.length).map(({ job, index }) => {
    const image = make("img", { alt: "" });
    const button = make("button", { type: "button", class: "cell image", "data-jobs": index }, image);
    byId("time-images").append(make("figure", {}, button, make("figcaption", {}, nameOf(job))));
    return { job, image, button };
  });
  byId("time-images").classList.toggle("many", shown.length > 24);
  const slider = byId("time-step");
  slider.max = steps.length - 1;
  slider.value = steps.length - 1;
  const show = () => {
    const step = steps[Number(slider.value)];
    slider.setAttribute("aria-valuetext", `step ${step}`);
    byId("time-shown").textContent = `${step} of ${steps.at(-1)}`;
    for (const { job, image, button } of shown) {
      // The last snapshot up to this step: jobs may have different steps.
      const [at, source] = job.snapshots.filter(([other]) => other <= step).at(-1) || job.snapshots[0];
      image.src = source;
      image.alt = `${nameOf(job)}, step ${at}`;
      button.dataset.path = `${job.folder}/snapshots/step_${String(at).padStart(6, "0")}.png`;
    }
  };
  slider.addEventListener("input", show);
  let timer = 0;
  byId("time-play").addEventListener("click", () => {
    const playing = timer !== 0;
    clearInterval(timer);
    timer = playing ? 0 : setInterval(() => {
      slider.value = (Number(slider.value) + 1) % steps.length;
      show();
    }, 450);
    byId("time-play").setAttribute("aria-pressed", String(!playing));
    byId("time-play").textContent = playing ? "Play" : "Stop";
  });
  show();
}
