// Loss curves: one for each job, or mean and standard deviation of each group.

const hiddenCurves = new Set(); // by the text in the legend
const ALL = "total, content, style"; // of a single run
let curveLines = [];

function fillCurves() {
  const losses = data.curveColumns.filter((name) => data.losses.includes(name));
  fill(byId("curve-loss"), [...(jobs.length === 1 ? [ALL] : []), ...losses].map((name) => [name, name]));
  const choices = new PlotChoices("curve", () => drawCurves(choices));
  for (const id of ["curve-loss", "curve-x"]) {
    byId(id).addEventListener("change", () => { choices.reset(); choices.draw(); });
  }
  let colored = "";
  views.push(() => {
    if (colored !== state.over + state.colorBy) hiddenCurves.clear();
    colored = state.over + state.colorBy;
    fillLegend(choices);
    choices.draw();
  });
  redrawOnResize(byId("curve-plot"), choices.draw);
}

// Every curve with its points [x, y, deviation], before values that an axis cannot show are left out.
function makeCurves(loss, against) {
  const across = data.curveColumns.indexOf(against);
  const points = (index, name) => {
    const column = data.curveColumns.indexOf(name);
    return jobs[index].curve.filter((row) => row[column] !== null && row[across] !== null).map((row) => [row[across], row[column], 0]);
  };
  if (loss === ALL) {
    return ALL.split(", ").map((name, place) => ({ name, legend: name, jobs: [0], color: PALETTE[place], points: points(0, name) }));
  }
  return entries.map((entry) => {
    const members = (state.over ? finished(entry) : entry.jobs).filter((index) => points(index, loss).length);
    const own = members.map((index) => points(index, loss));
    const curve = { name: entry.name, legend: colorName(entry.jobs[0]), jobs: entry.jobs, color: colorOf(entry.jobs[0]) };
    return { ...curve, points: state.over && own.length ? averageCurves(own) : own[0] || [] };
  });
}

function drawCurves(choices) {
  const loss = byId("curve-loss").value, against = byId("curve-x").value;
  const every = makeCurves(loss, against).filter((curve) => !hiddenCurves.has(curve.legend));
  const values = (place) => every.flatMap((curve) => curve.points.map((point) => point[place]));
  const logX = choices.isLog("x", values(0), () => false), logY = choices.isLog("y", values(1), () => true);
  const curves = every
    .map((curve) => ({ ...curve, points: curve.points.filter(([x, y]) => (x > 0 || !logX) && (y > 0 || !logY)) }))
    .filter((curve) => curve.points.length);
  curveLines = [];
  if (!curves.length) {
    byId("curve-plot").replaceChildren(make("p", { class: "quiet" }, "No curve to show."));
    return;
  }
  const points = curves.flatMap((curve) => curve.points);
  const edges = points.flatMap(([, y, deviation]) => [y - deviation, y, y + deviation]).filter((y) => y > 0 || !logY);
  const drawn = drawAxes(byId("curve-plot"), choices, {
    label: `${loss} loss against ${against}`, nameX: against, nameY: loss === ALL ? "loss" : `${loss} loss`,
    x: bounds(points.map(([x]) => x)), y: bounds(edges), logX, logY,
  });
  const { svg, layer, scaleX, scaleY } = drawn;
  const path = (places) => places.map(([x, y], n) => `${n ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  const [bands, lines] = [makeSvg("g"), makeSvg("g")];
  layer.append(bands, lines);
  for (const curve of curves) {
    const owner = { "data-jobs": curve.jobs.join(" ") };
    const edge = (sign) => curve.points.map(([x, y, deviation]) => {
      const value = y + sign * deviation;
      return [scaleX.place(x), scaleY.place(logY ? Math.max(value, scaleY.low) : value)];
    });
    if (curve.points.some((point) => point[2])) {
      bands.append(makeSvg("path", { ...owner, class: "band", d: `${path([...edge(1), ...edge(-1).reverse()])}Z`, fill: curve.color }));
    }
    const places = edge(0);
    const d = places.length > 1 ? path(places) : `${path(places)}h3`;
    const line = makeSvg("path", { ...owner, class: "line", d, stroke: curve.color });
    line.append(makeSvg("title", {}, curve.name));
    lines.append(line);
    curveLines.push({ ...curve, places });
  }
  svg.addEventListener("pointermove", (event) => readCurve(nearestPoint(svg, event), loss, against));
  svg.addEventListener("pointerleave", () => readCurve(null));
  svg.addEventListener("click", (event) => {
    const found = nearestPoint(svg, event);
    if (found && !dragged) pick(found.curve.jobs, event);
  });
  mark();
}

function nearestPoint(svg, event) {
  const [x, y] = placeIn(svg, event);
  let best = null, least = 40 ** 2;
  for (const curve of curveLines) {
    curve.places.forEach(([a, b], n) => {
      const distance = (a - x) ** 2 + (b - y) ** 2;
      if (distance < least) { least = distance; best = { curve, point: curve.points[n] }; }
    });
  }
  return best;
}

function readCurve(found, loss, against) {
  light(found ? found.curve.jobs : []);
  if (!found) { byId("curve-read").textContent = ""; return; }
  const [x, y, deviation] = found.point;
  const value = state.over ? `${shortNumber(y)} ± ${shortNumber(deviation)}` : shortNumber(y);
  byId("curve-read").textContent = `${found.curve.name}: ${loss === ALL ? "" : `${loss} `}${value} at ${against} ${shortNumber(x)}`;
}

function fillLegend(choices) {
  const found = new Map();
  if (jobs.length === 1) makeCurves(ALL, "step").forEach((curve) => found.set(curve.legend, { color: curve.color, jobs: [] }));
  else {
    for (const index of entries.flatMap((entry) => entry.jobs)) {
      if (!jobs[index].curve.length) continue;
      const name = colorName(index);
      found.set(name, { color: colorOf(index), jobs: [...(found.get(name)?.jobs || []), index] });
    }
  }
  const names = [...found.keys()];
  if (state.colorBy !== "job") names.sort((one, other) => [...colors.keys()].indexOf(one) - [...colors.keys()].indexOf(other));
  byId("legend").replaceChildren(...names.map((name) => {
    const { color, jobs: owners } = found.get(name);
    const button = make("button", { type: "button", "aria-pressed": String(!hiddenCurves.has(name)) }, makeSwatch(color), name);
    button.addEventListener("click", () => {
      if (!hiddenCurves.delete(name)) hiddenCurves.add(name);
      button.setAttribute("aria-pressed", String(!hiddenCurves.has(name)));
      choices.draw();
    });
    for (const event of ["pointerenter", "focus"]) button.addEventListener(event, () => light(owners));
    for (const event of ["pointerleave", "blur"]) button.addEventListener(event, () => light([]));
    return button;
  }));
}
