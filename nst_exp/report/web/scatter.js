// The trade-off plot: a dot for each job, or mean and standard deviation of each group.

function fillScatter() {
  const able = numberColumns();
  if (jobs.length === 1 || !able.length) { hideSection("scatter"); return; }
  const choices = new PlotChoices("scatter", () => drawScatter(choices));
  for (const [axis, wanted] of [["x", data.tradeoff?.x ?? "loss:content"], ["y", data.tradeoff?.y ?? "loss:style"]]) {
    const box = byId(`scatter-${axis}`);
    fill(box, able.map((column) => [column.id, column.name]));
    if (able.includes(columnById.get(wanted))) box.value = wanted;
    box.addEventListener("change", () => { choices.reset(); choices.draw(); });
  }
  views.push(choices.draw);
  redrawOnResize(byId("scatter-plot"), choices.draw);
}

// The jobs on the Pareto front, if the plot shows the numbers by which it was found.
function frontShown() {
  const tradeoff = data.tradeoff;
  const shown = tradeoff && byId("scatter-x").value === tradeoff.x && byId("scatter-y").value === tradeoff.y;
  return shown && !state.over && !state.filters.size ? tradeoff.front : [];
}

function drawScatter(choices) {
  const [first, second] = ["x", "y"].map((axis) => columnById.get(byId(`scatter-${axis}`).value));
  const every = entries.flatMap((entry) => entry.jobs)
    .map((index) => ({ index, x: numberIn(first.of(jobs[index])), y: numberIn(second.of(jobs[index])) }))
    .filter((point) => Number.isFinite(point.x) && Number.isFinite(point.y));
  const logs = ["x", "y"].map((axis) => choices.isLog(axis, every.map((point) => point[axis]), (values) => spansDecade(bounds(values))));
  const [logX, logY] = logs;
  const points = every.filter((point) => (point.x > 0 || !logX) && (point.y > 0 || !logY));
  if (!points.length) {
    byId("scatter-plot").replaceChildren(make("p", { class: "quiet" }, "No job has both numbers."));
    return;
  }
  const drawn = drawAxes(byId("scatter-plot"), choices, {
    label: `${second.name} against ${first.name}, one dot for each job`, nameX: first.name, nameY: second.name,
    x: bounds(points.map((point) => point.x)), y: bounds(points.map((point) => point.y)), logX, logY, inset: 16,
  });
  const place = (point) => [drawn.scaleX.place(point.x), drawn.scaleY.place(point.y)];
  const front = frontShown();
  if (front.length) {
    const at = new Map(points.map((point) => [point.index, place(point).map((value) => value.toFixed(1)).join(" ")]));
    drawn.layer.append(makeSvg("path", { class: "front", d: `M${front.filter((index) => at.has(index)).map((index) => at.get(index)).join("L")}` }));
  }
  for (const point of points) {
    const onFront = front.includes(point.index) ? ", on the Pareto front" : "";
    const text = `${nameOf(jobs[point.index])}: ${first.name} ${shortNumber(point.x)}, ${second.name} ${shortNumber(point.y)}${onFront}`;
    const [x, y] = place(point);
    addDot(drawn.layer, { x, y, jobs: [point.index], text, small: state.over !== "" });
    if (!state.over && points.length <= 25) drawn.layer.append(makeSvg("text", { x: x + 10, y: y - 7 }, String(jobs[point.index].number)));
  }
  if (state.over) entries.forEach((entry) => drawGroup(drawn, entry, first, second, logs));
  mark();
}

function drawGroup({ layer, scaleX, scaleY }, entry, first, second, [logX, logY]) {
  const [x, y] = [first, second].map((column) => statistics(entry, column));
  if (x.mean === null || y.mean === null || (logX && x.mean <= 0) || (logY && y.mean <= 0)) return;
  const end = (scale, { mean, deviation }, sign, log) => {
    const value = mean + sign * (deviation ?? 0);
    return scale.place(log ? Math.max(value, scale.low) : value);
  };
  const [left, right] = [-1, 1].map((sign) => end(scaleX, x, sign, logX));
  const [low, high] = [-1, 1].map((sign) => end(scaleY, y, sign, logY));
  const at = [scaleX.place(x.mean), scaleY.place(y.mean)];
  const owner = { class: "error", "data-jobs": entry.jobs.join(" "), stroke: colorOf(entry.jobs[0]) };
  layer.append(makeSvg("path", { ...owner, d: `M${left} ${at[1]}H${right}M${at[0]} ${low}V${high}` }));
  const text = [[first, x], [second, y]].map(([column, of]) => `${column.name} ${meanText(of)}`).join(", ");
  addDot(layer, { x: at[0], y: at[1], jobs: entry.jobs, text: `${entry.name}: ${text}` });
}

function addDot(layer, { x, y, jobs: owners, text, small = false }) {
  const circle = makeSvg("circle", {
    cx: x, cy: y, r: small ? 3 : 7, fill: colorOf(owners[0]), role: "button", "aria-label": text,
    "data-jobs": owners.join(" "), ...(small ? {} : { tabindex: 0 }),
  });
  circle.append(makeSvg("title", {}, text));
  const read = (shown) => () => { byId("scatter-read").textContent = shown; };
  for (const event of ["pointerenter", "focus"]) circle.addEventListener(event, read(text));
  for (const event of ["pointerleave", "blur"]) circle.addEventListener(event, read(""));
  layer.append(circle);
}
