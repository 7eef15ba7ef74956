// The contact sheet, the snapshots over time, and the comparison of two images.

function fillSheets() {
  for (const sheet of data.sheets) {
    if (sheet.title) byId("sheets").append(make("h3", {}, sheet.title));
    const wrapped = !sheet.columns.length;
    const content = wrapped ? wrappedSheet(sheet) : gridSheet(sheet);
    const holder = make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": sheet.title || "Sheet" }, content);
    byId("sheets").append(wrapped ? content : holder);
  }
}

function gridSheet(sheet) {
  const head = make("tr", {}, ...sheet.columns.map((name) => make("th", { scope: "col" }, name)));
  if (sheet.rows.length) head.prepend(make("td", { class: "corner" }));
  const rows = sheet.cells.map((cells, row) => {
    const line = make("tr", {}, ...cells.map((index) => make("td", {}, sheetCell(index))));
    if (sheet.rows.length) line.prepend(make("th", { scope: "row" }, sheet.rows[row]));
    return line;
  });
  const table = make("table", { class: "grid" }, make("thead", {}, head), make("tbody", {}, ...rows));
  table.style.minWidth = `${sheet.columns.length * 84 + (sheet.rows.length ? 130 : 0)}px`;
  table.style.width = `${sheet.columns.length * 330 + (sheet.rows.length ? 150 : 0)}px`;
  return table;
}

function wrappedSheet(sheet) {
  const figures = sheet.cells.flat().filter((index) => index >= 0).map((index) =>
    make("figure", {}, sheetCell(index), make("figcaption", {}, jobs[index].label)));
  return make("div", { class: "tiles" }, ...figures);
}

function sheetCell(index) {
  if (index < 0) return make("div", { class: "none quiet" }, "no such job");
  const job = jobs[index];
  if (!job.image || job.status !== "done") {
    const text = job.status === "running" ? "unfinished" : job.status === "done" ? "no image" : job.status;
    const status = make("span", { class: "status" }, text);
    status.classList.add(job.status.replace(/\W/g, "-") || "unknown");
    return make("div", { class: "none", title: job.error || nameOf(job) }, status);
  }
  const button = make("button", { type: "button", class: "cell", title: nameOf(job) },
    make("img", { src: job.image, alt: nameOf(job), loading: "lazy" }));
  button.dataset.job = index;
  button.addEventListener("click", () => choose(index));
  return button;
}

// ---------------------------------------------------------------------------- over time

function fillTime() {
  const steps = [...new Set(jobs.flatMap((job) => job.snapshots.map(([step]) => step)))].sort((a, b) => a - b);
  if (!steps.length) {
    byId("time").hidden = true;
    document.querySelector('nav a[href="#time"]').hidden = true;
    return;
  }
  const shown = jobs.filter((job) => job.snapshots.length).map((job) => {
    const image = make("img", { alt: "" });
    byId("time-images").append(make("figure", {}, image, make("figcaption", {}, nameOf(job))));
    return { job, image };
  });
  byId("time-images").classList.toggle("many", shown.length > 24);
  const slider = byId("time-step");
  slider.max = steps.length - 1;
  slider.value = steps.length - 1;
  const show = () => {
    const step = steps[Number(slider.value)];
    slider.setAttribute("aria-valuetext", `step ${step}`);
    byId("time-shown").textContent = `${step} of ${steps.at(-1)}`;
    for (const { job, image } of shown) {
      // The last snapshot up to this step: jobs may have different steps.
      const [at, source] = job.snapshots.filter(([other]) => other <= step).at(-1) || job.snapshots[0];
      image.src = source;
      image.alt = `${nameOf(job)}, step ${at}`;
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

// ---------------------------------------------------------------------------- comparison

let nextChoice = "a";

function fillCompare() {
  const able = jobs.map((job, index) => [index, job]).filter(([, job]) => job.image);
  if (!able.length) {
    byId("compare").hidden = true;
    document.querySelector('nav a[href="#compare"]').hidden = true;
    return;
  }
  const options = able.map(([index, job]) => [String(index), nameOf(job)]);
  for (const side of ["a", "b"]) {
    fill(byId(`compare-${side}`), options);
    byId(`compare-${side}`).addEventListener("change", compare);
  }
  byId("compare-b").selectedIndex = options.length - 1;
  byId("compare-swap").addEventListener("click", () => {
    const [a, b] = [byId("compare-a").value, byId("compare-b").value];
    byId("compare-a").value = b;
    byId("compare-b").value = a;
    compare();
  });
  byId("compare-factor").addEventListener("input", () => {
    byId("compare-factor-shown").textContent = byId("compare-factor").value;
    compare();
  });
  compare();
}

function choose(index) {
  byId(`compare-${nextChoice}`).value = String(index);
  nextChoice = nextChoice === "a" ? "b" : "a";
  compare();
}

let latest = 0;

async function compare() {
  const turn = ++latest;
  const [a, b] = ["a", "b"].map((side) => Number(byId(`compare-${side}`).value));
  for (const cell of document.querySelectorAll(".cell")) {
    const letters = [[a, "A"], [b, "B"]].filter(([job]) => job === Number(cell.dataset.job));
    if (letters.length) cell.dataset.chosen = letters.map(([, letter]) => letter).join(" ");
    else delete cell.dataset.chosen;
  }
  for (const [side, index] of [["a", a], ["b", b]]) {
    byId(`compare-image-${side}`).src = jobs[index].image;
    byId(`compare-image-${side}`).alt = nameOf(jobs[index]);
    byId(`compare-label-${side}`).textContent = `${side.toUpperCase()} · ${nameOf(jobs[index])}`;
  }
  const images = ["a", "b"].map((side) => byId(`compare-image-${side}`));
  await Promise.all(images.map((image) => image.decode()));
  if (turn === latest) drawDifference(...images); // unless another image was chosen meanwhile
}

function drawDifference(a, b) {
  const [width, height] = [a.naturalWidth, a.naturalHeight];
  const canvas = byId("compare-canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const pixels = [a, b].map((image) => {
    context.drawImage(image, 0, 0, width, height);
    return context.getImageData(0, 0, width, height);
  });
  const factor = Number(byId("compare-factor").value);
  const [one, other] = pixels.map((found) => found.data);
  let sum = 0;
  for (let i = 0; i < one.length; i += 4) {
    for (let channel = i; channel < i + 3; channel++) {
      const difference = Math.abs(one[channel] - other[channel]);
      sum += difference;
      one[channel] = Math.min(255, difference * factor);
    }
    one[i + 3] = 255;
  }
  context.putImageData(pixels[0], 0, 0);
  const notes = [`|A − B| × ${factor}; mean ${shortNumber(sum / (width * height * 3))} of 255`];
  if (b.naturalWidth !== width || b.naturalHeight !== height) notes.push("B is scaled to the size of A");
  if (!data.lossless) notes.push("images in this page are compressed: differences of a few steps of 255 mean nothing");
  byId("compare-note").textContent = notes.join("; ");
}
