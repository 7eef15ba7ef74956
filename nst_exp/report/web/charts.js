// Loss curves and the trade-off plot, as SVG; both are redrawn when a choice changes.

// In pixels of the screen, so that text stays readable on a small one.
let WIDTH = 960, HEIGHT = 420;
const LEFT = 70, RIGHT = 16, TOP = 14, BOTTOM = 44;
const hidden = new Set();

// Maps values to pixels; logarithmic where they span more than a decade and are positive.
function scale(values, from, to, logarithmic) {
  let low = Math.min(...values), high = Math.max(...values);
  const log = logarithmic ?? (low > 0 && high / low > 10);
  if (low === high) {
    const margin = Math.abs(low) * 0.5 || 1;
    [low, high] = log ? [low / 2, high * 2] : [low - margin, high + margin];
  }
  const forward = log ? Math.log10 : (value) => value;
  const [a, b] = [forward(low), forward(high)];
  const place = (value) => from + ((forward(value) - a) / (b - a)) * (to - from);
  return { place, ticks: log ? logTicks(low, high) : linearTicks(low, high) };
}

function linearTicks(low, high) {
  const rough = (high - low) / (WIDTH < 500 ? 4 : 6);
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * ([1, 2, 5, 10].find((factor) => factor * unit >= rough) || 10);
  const ticks = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) ticks.push(n * step);
  return ticks;
}

function logTicks(low, high) {
  const decades = Math.log10(high / low);
  if (decades < 0.8) return linearTicks(low, high);
  const factors = decades < 3 ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.ceil(decades / 8));
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    if (power % every) continue;
    for (const factor of factors) {
      const tick = factor * 10 ** power;
      if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
    }
  }
  return ticks;
}

function measure(holder) {
  WIDTH = Math.max(280, Math.min(1400, holder.clientWidth || 960));
  HEIGHT = Math.round(Math.max(260, Math.min(440, WIDTH * 0.55)));
}

function canvasFor(holder, label) {
  measure(holder);
  const svg = makeSvg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": label });
  holder.replaceChildren(svg);
  return svg;
}

function axes(svg, x, y, nameX, nameY) {
  for (const tick of y.ticks) {
    const at = y.place(tick);
    svg.append(makeSvg("line", { class: "tick", x1: LEFT, x2: WIDTH - RIGHT, y1: at, y2: at }));
    svg.append(makeSvg("text", { x: LEFT - 8, y: at + 4, "text-anchor": "end" }, shortNumber(tick)));
  }
  for (const tick of x.ticks) {
    const at = x.place(tick);
    svg.append(makeSvg("line", { class: "tick", x1: at, x2: at, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 5 }));
    svg.append(makeSvg("text", { x: at, y: HEIGHT - BOTTOM + 19, "text-anchor": "middle" }, shortNumber(tick)));
  }
  svg.append(makeSvg("line", { class: "tick", x1: LEFT, x2: WIDTH - RIGHT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM }));
  svg.append(makeSvg("text", { class: "name", x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, nameX));
  const middle = (TOP + HEIGHT - BOTTOM) / 2;
  svg.append(makeSvg("text", { class: "name", x: 14, y: middle, "text-anchor": "middle", transform: `rotate(-90 14 ${middle})` }, nameY));
}

let curveLines = [];

function drawCurves() {
  const loss = byId("curve-loss").value, against = byId("curve-x").value;
  const [column, across] = [data.curveColumns.indexOf(loss), data.curveColumns.indexOf(against)];
  const holder = byId("curve-plot");
  const series = jobs
    .map((job, index) => ({
      index,
      points: job.curve
        .filter((row) => row[column] !== null && row[column] > 0 && row[across] !== null)
        .map((row) => [row[across], row[column]]),
    }))
    .filter((one) => one.points.length && !hidden.has(one.index));
  curveLines = [];
  if (!series.length) {
    holder.replaceChildren(make("p", { class: "quiet" }, "No curve to show."));
    return;
  }
  const all = series.flatMap((one) => one.points);
  const svg = canvasFor(holder, `${loss} loss of every job against ${against}`);
  const x = scale(bounds(all.map((point) => point[0])), LEFT, WIDTH - RIGHT, false);
  const y = scale(bounds(all.map((point) => point[1])), HEIGHT - BOTTOM, TOP, true);
  axes(svg, x, y, against, `${loss} loss`);
  for (const one of series) {
    const places = one.points.map(([a, b]) => [x.place(a), y.place(b)]);
    const path = places.map(([a, b], n) => `${n ? "L" : "M"}${a.toFixed(1)} ${b.toFixed(1)}`).join("");
    const line = makeSvg("path", { class: "line", d: places.length > 1 ? path : `${path}h3`, stroke: colorOf(one.index) });
    line.append(makeSvg("title", {}, nameOf(jobs[one.index])));
    svg.append(line);
    curveLines.push({ ...one, line, places });
  }
  svg.addEventListener("pointermove", (event) => nearestPoint(svg, event, loss, against));
  svg.addEventListener("pointerleave", () => { light(-1); byId("curve-read").textContent = ""; });
}

// The two extremes: Math.min(...values) fails on very long lists.
function bounds(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  return [low, high];
}

function nearestPoint(svg, event, loss, against) {
  const box = svg.getBoundingClientRect();
  const at = [((event.clientX - box.left) * WIDTH) / box.width, ((event.clientY - box.top) * HEIGHT) / box.height];
  let best = null, least = 40 ** 2;
  for (const one of curveLines) {
    one.places.forEach(([a, b], n) => {
      const distance = (a - at[0]) ** 2 + (b - at[1]) ** 2;
      if (distance < least) { least = distance; best = { one, n }; }
    });
  }
  light(best ? best.one.index : -1);
  if (!best) { byId("curve-read").textContent = ""; return; }
  const [a, b] = best.one.points[best.n];
  byId("curve-read").textContent = `${nameOf(jobs[best.one.index])}: ${loss} ${shortNumber(b)} at ${against} ${a}`;
}

function fillCurves() {
  const choices = data.curveColumns.filter((name) => data.losses.includes(name));
  fill(byId("curve-loss"), choices.map((name) => [name, name]));
  for (const id of ["curve-loss", "curve-x"]) byId(id).addEventListener("change", drawCurves);
  jobs.forEach((job, index) => {
    if (!job.curve.length) return;
    const swatch = make("span", { class: "swatch" });
    swatch.style.background = colorOf(index);
    const button = make("button", { type: "button", "aria-pressed": "true" }, swatch, nameOf(job));
    button.addEventListener("click", () => {
      if (!hidden.delete(index)) hidden.add(index);
      button.setAttribute("aria-pressed", String(!hidden.has(index)));
      drawCurves();
    });
    for (const event of ["pointerenter", "focus"]) button.addEventListener(event, () => light(index));
    for (const event of ["pointerleave", "blur"]) button.addEventListener(event, () => light(-1));
    byId("legend").append(button);
  });
  listeners.push((index) => {
    const there = curveLines.some((one) => one.index === index);
    for (const one of curveLines) {
      one.line.classList.toggle("lit", one.index === index);
      one.line.classList.toggle("dim", there && one.index !== index);
    }
  });
  drawCurves();
}

// ---------------------------------------------------------------------------- trade-off

let dots = [];

// Everything that is a number for at least one job.
function measures() {
  const found = new Map();
  for (const name of data.metrics) found.set(`metric:${name}`, [name.replaceAll("_", " "), (job) => job.metrics[name]]);
  for (const name of data.losses) found.set(`loss:${name}`, [`${name} loss`, (job) => job.losses[name]]);
  data.varied.forEach((key, place) => {
    if (jobs.some((job) => isNumber(job.values[place]))) {
      found.set(`key:${key}`, [key, (job) => (isNumber(job.values[place]) ? toNumber(job.values[place]) : null)]);
    }
  });
  for (const name of ["seconds", "evaluations"]) found.set(`run:${name}`, [name, (job) => job[name]]);
  return new Map([...found].filter(([, [, of]]) => jobs.some((job) => Number.isFinite(of(job)))));
}

function fillScatter() {
  const found = measures();
  const options = [...found].map(([id, [name]]) => [id, name]);
  for (const [id, wanted] of [
    ["scatter-x", data.tradeoff?.x ?? "loss:content"],
    ["scatter-y", data.tradeoff?.y ?? "loss:style"],
  ]) {
    fill(byId(id), options);
    if (found.has(wanted)) byId(id).value = wanted;
    byId(id).addEventListener("change", () => drawScatter(found));
  }
  listeners.push((index) => {
    for (const dot of dots) dot.circle.classList.toggle("lit", dot.index === index);
  });
  drawScatter(found);
  redrawOnResize(() => { drawCurves(); drawScatter(found); });
}

function redrawOnResize(draw) {
  let width = byId("curve-plot").clientWidth, timer = 0;
  new ResizeObserver(() => {
    if (byId("curve-plot").clientWidth === width) return; // its height follows from drawing
    width = byId("curve-plot").clientWidth;
    clearTimeout(timer);
    timer = setTimeout(draw, 80);
  }).observe(byId("curve-plot"));
}

// The jobs on the Pareto front, if the plot shows the numbers by which it was found.
function frontShown() {
  const tradeoff = data.tradeoff;
  const shown = tradeoff && byId("scatter-x").value === tradeoff.x && byId("scatter-y").value === tradeoff.y;
  return shown ? tradeoff.front : [];
}

function drawScatter(found) {
  const [first, second] = [found.get(byId("scatter-x").value), found.get(byId("scatter-y").value)];
  const holder = byId("scatter-plot");
  const points = !first || !second ? [] : jobs
    .map((job, index) => ({ job, index, x: first[1](job), y: second[1](job) }))
    .filter((point) => Number.isFinite(point.x) && Number.isFinite(point.y));
  dots = [];
  if (!points.length) {
    holder.replaceChildren(make("p", { class: "quiet" }, "No job has both numbers yet."));
    return;
  }
  const svg = canvasFor(holder, `${second[0]} against ${first[0]}, one dot for each job`);
  const x = scale(bounds(points.map((point) => point.x)), LEFT + 20, WIDTH - RIGHT - 40);
  const y = scale(bounds(points.map((point) => point.y)), HEIGHT - BOTTOM - 16, TOP + 12);
  axes(svg, x, y, first[0], second[0]);
  const front = frontShown();
  if (front.length) {
    const at = new Map(points.map((point) => [point.index, `${x.place(point.x).toFixed(1)} ${y.place(point.y).toFixed(1)}`]));
    svg.append(makeSvg("path", { class: "front", d: `M${front.map((index) => at.get(index)).join("L")}` }));
  }
  for (const point of points) {
    const [a, b] = [x.place(point.x), y.place(point.y)];
    const onFront = front.includes(point.index) ? ", on the Pareto front" : "";
    const text = `${nameOf(point.job)}: ${first[0]} ${shortNumber(point.x)}, ${second[0]} ${shortNumber(point.y)}${onFront}`;
    const circle = makeSvg("circle", { cx: a, cy: b, r: 7, fill: colorOf(point.index), tabindex: 0, role: "img", "aria-label": text });
    circle.append(makeSvg("title", {}, text));
    const show = () => { light(point.index); byId("scatter-read").textContent = text; };
    const leave = () => { light(-1); byId("scatter-read").textContent = ""; };
    for (const event of ["pointerenter", "focus"]) circle.addEventListener(event, show);
    for (const event of ["pointerleave", "blur"]) circle.addEventListener(event, leave);
    svg.append(circle);
    if (points.length <= 40) svg.append(makeSvg("text", { x: a + 10, y: b - 7 }, String(point.job.number)));
    dots.push({ index: point.index, circle });
  }
}
