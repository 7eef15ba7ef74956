// Parallel coordinates: an axis for each column of the table, a line for each job. Dragging along
// an axis of numbers filters a range; a click on a text filters this value.

function fillParallel() {
  if (jobs.length === 1) { hideSection("parallel"); return; }
  views.push(drawParallel);
  redrawOnResize(byId("parallel-plot"), drawParallel);
}

function drawParallel() {
  const holder = byId("parallel-plot");
  const shown = columns.filter((column) => shownColumns.has(column.id) && (column.key || column.measured) && column.differs);
  if (shown.length < 2) {
    holder.replaceChildren(make("p", { class: "quiet" }, "Fewer than two columns of the table differ between the jobs."));
    return;
  }
  const width = Math.max(holder.clientWidth || 960, shown.length * 96), height = 330;
  const [top, bottom] = [46, height - 14];
  const svg = makeSvg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Parallel coordinates" });
  svg.style.width = `${width}px`;
  const gap = width / shown.length;
  const axes = shown.map((column, n) => ({ column, x: gap * (n + 0.5), scale: axisScale(column, bottom, top) }));
  const included = new Set(entries.flatMap((entry) => entry.jobs));
  const order = jobs.map((_, index) => index).sort((a, b) => included.has(a) - included.has(b));
  for (const index of order) {
    const places = axes.map(({ column, x, scale }) => [x, scale.place(column.of(jobs[index]))]).filter(([, y]) => y !== null);
    const d = places.map(([x, y], n) => `${n ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
    const line = makeSvg("path", { class: "line", d, stroke: colorOf(index) });
    if (included.has(index)) line.dataset.jobs = index;
    else line.classList.add("out");
    line.append(makeSvg("title", {}, nameOf(jobs[index])));
    svg.append(line);
  }
  for (const axis of axes) drawParallelAxis(svg, axis, top, bottom);
  holder.replaceChildren(svg);
  mark();
}

// Places values of all jobs, so that an axis stays as it is when jobs are filtered.
function axisScale(column, from, to) {
  const values = [...new Set(jobs.map(column.of).filter(known))];
  if (column.numeric) {
    const range = bounds(values.map(numberIn).filter(Number.isFinite));
    const scale = makeScale(range, from, to, spansDecade(range));
    const place = (value) => (Number.isFinite(numberIn(value)) ? scale.place(numberIn(value)) : null);
    return { ...scale, place, texts: scale.ticks.map((tick) => [tick, shortNumber(tick)]) };
  }
  const place = (value) => (known(value) ? from + ((values.indexOf(value) + 0.5) / values.length) * (to - from) : null);
  return { place, texts: values.map((value) => [value, value]) };
}

function drawParallelAxis(svg, { column, x, scale }, top, bottom) {
  svg.append(makeSvg("line", { class: "axis", x1: x, x2: x, y1: top, y2: bottom }));
  const name = makeSvg("text", { class: "name", x, y: 18, "text-anchor": "middle" }, column.name);
  svg.append(name);
  for (const [value, text] of scale.texts.slice(0, 24)) {
    const short = text.length > 16 ? `${text.slice(0, 15)}…` : text;
    const label = makeSvg("text", { x: x + 7, y: scale.place(value) + 4 }, short);
    if (!column.numeric) {
      label.classList.add("choice");
      label.addEventListener("click", () => setFilter(column.id, state.filters.get(column.id) === `=${text}` ? "" : `=${text}`));
    }
    svg.append(label);
  }
  if (!column.numeric) return;
  const range = state.filters.get(column.id)?.split("..").map(Number);
  if (range?.length === 2 && range.every(Number.isFinite)) {
    const [low, high] = range.map((value) => Math.max(top - 4, Math.min(bottom + 4, scale.place(value) ?? bottom)));
    svg.append(makeSvg("rect", { class: "brush", x: x - 9, width: 18, y: high, height: Math.max(2, low - high) }));
  }
  const handle = makeSvg("rect", { class: "handle", x: x - 12, width: 24, y: top - 6, height: bottom - top + 12 });
  const frame = makeSvg("rect", { class: "brush", x: x - 9, width: 18 });
  handle.append(makeSvg("title", {}, `Drag to filter ${column.name}`));
  svg.append(handle);
  onDrag(handle, svg, ([, from], [, to]) => {
    frame.setAttribute("y", Math.min(from, to));
    frame.setAttribute("height", Math.abs(to - from));
    svg.append(frame);
  }, ([, from], [, to]) => {
    const [high, low] = [from, to].sort((a, b) => a - b).map((place) => Number(scale.value(place).toPrecision(4)));
    setFilter(column.id, `${low}..${high}`);
  });
  handle.addEventListener("click", () => { if (!dragged) setFilter(column.id, ""); });
}
