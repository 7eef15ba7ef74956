// Axes of the plots: scales, ticks, linear or logarithmic, zoom by dragging.

const LEFT = 70, RIGHT = 16, TOP = 14, BOTTOM = 44;

// Maps values to pixels and back.
function makeScale([low, high], from, to, logarithmic) {
  if (low === high) {
    const margin = Math.abs(low) * 0.5 || 1;
    [low, high] = logarithmic ? [low / 2, high * 2] : [low - margin, high + margin];
  }
  const forward = logarithmic ? Math.log10 : (value) => value;
  const backward = logarithmic ? (value) => 10 ** value : (value) => value;
  const [a, b] = [forward(low), forward(high)];
  return {
    low,
    high,
    place: (value) => from + ((forward(value) - a) / (b - a)) * (to - from),
    value: (place) => backward(a + ((place - from) / (to - from)) * (b - a)),
    ticks: logarithmic ? logTicks(low, high) : linearTicks(low, high, Math.abs(to - from) < 400 ? 4 : 6),
  };
}

const spansDecade = ([low, high]) => low > 0 && high / low > 10;

function linearTicks(low, high, count) {
  const rough = (high - low) / count;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * ([1, 2, 5, 10].find((factor) => factor * unit >= rough) || 10);
  const ticks = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) ticks.push(n * step);
  return ticks;
}

function logTicks(low, high) {
  const decades = Math.log10(high / low);
  if (decades < 0.8) return linearTicks(low, high, 5);
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

// In pixels of the screen, so that text stays readable on a small one.
function sizeOf(holder) {
  const width = Math.max(280, Math.min(1400, holder.clientWidth || 960));
  return { width, height: Math.round(Math.max(260, Math.min(440, width * 0.55))) };
}

// The choices of a plot: logarithmic axes (null: decided by the values) and the part that is shown.
class PlotChoices {
  constructor(name, draw) {
    this.name = name;
    this.draw = draw;
    this.reset();
    for (const axis of ["x", "y"]) {
      byId(`${name}-log-${axis}`).addEventListener("change", (event) => {
        this.log[axis] = event.target.checked;
        this.zoom = null;
        draw();
      });
    }
    byId(`${name}-reset`).addEventListener("click", () => this.zoomTo(null));
  }

  // After a change of what the axes are.
  reset() {
    this.log = { x: null, y: null };
    this.zoom = null;
  }

  zoomTo(part) {
    this.zoom = part;
    this.draw();
  }

  // Whether an axis is logarithmic, which needs positive values.
  isLog(axis, values, preferred) {
    const able = values.some((value) => value > 0);
    const box = byId(`${this.name}-log-${axis}`);
    box.disabled = !able;
    box.checked = able && (this.log[axis] ?? preferred(values));
    return box.checked;
  }
}

// Draws axes and returns what is needed to draw into them; content outside of them is cut off.
function drawAxes(holder, choices, { label, nameX, nameY, x, y, logX, logY, inset = 0 }) {
  const { width, height } = sizeOf(holder);
  const svg = makeSvg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label });
  const right = width - RIGHT, bottom = height - BOTTOM;
  const scaleX = makeScale(choices.zoom?.x || x, LEFT + inset, right - 2 * inset, logX);
  const scaleY = makeScale(choices.zoom?.y || y, bottom - inset, TOP + inset, logY);
  for (const tick of scaleY.ticks) {
    const at = scaleY.place(tick);
    svg.append(makeSvg("line", { class: "tick", x1: LEFT, x2: right, y1: at, y2: at }));
    svg.append(makeSvg("text", { x: LEFT - 8, y: at + 4, "text-anchor": "end" }, shortNumber(tick)));
  }
  for (const tick of scaleX.ticks) {
    const at = scaleX.place(tick);
    svg.append(makeSvg("line", { class: "tick", x1: at, x2: at, y1: bottom, y2: bottom + 5 }));
    svg.append(makeSvg("text", { x: at, y: bottom + 19, "text-anchor": "middle" }, shortNumber(tick)));
  }
  svg.append(makeSvg("line", { class: "tick", x1: LEFT, x2: right, y1: bottom, y2: bottom }));
  svg.append(makeSvg("text", { class: "name", x: (LEFT + right) / 2, y: height - 6, "text-anchor": "middle" }, nameX));
  const middle = (TOP + bottom) / 2;
  svg.append(makeSvg("text", { class: "name", x: 14, y: middle, "text-anchor": "middle", transform: `rotate(-90 14 ${middle})` }, nameY));
  const clip = makeSvg("clipPath", { id: `${choices.name}-clip` });
  clip.append(makeSvg("rect", { x: LEFT, y: 0, width: right - LEFT, height: bottom }));
  const layer = makeSvg("g", { "clip-path": `url(#${choices.name}-clip)` });
  svg.append(clip, layer);
  holder.replaceChildren(svg);
  byId(`${choices.name}-reset`).hidden = !choices.zoom;
  zoomByDragging(svg, scaleX, scaleY, choices);
  return { svg, layer, scaleX, scaleY };
}

// The place of an event in the units of the drawing.
function placeIn(svg, event) {
  const box = svg.getBoundingClientRect(), { width, height } = svg.viewBox.baseVal;
  return [((event.clientX - box.left) * width) / box.width, ((event.clientY - box.top) * height) / box.height];
}

const DRAG = 6; // pixels that a click may move
let dragged = false; // until after the click that ends a drag

// Calls `finish` with the two places of a drag; `show` follows the pointer.
function onDrag(element, svg, show, finish) {
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const start = placeIn(svg, event);
    const follow = (later) => {
      const place = placeIn(svg, later);
      dragged ||= Math.hypot(place[0] - start[0], place[1] - start[1]) > DRAG;
      if (!dragged) return;
      element.setPointerCapture(later.pointerId);
      show(start, place);
    };
    const stop = (later) => {
      for (const kind of ["pointerup", "pointercancel"]) element.removeEventListener(kind, stop);
      element.removeEventListener("pointermove", follow);
      if (!dragged) return;
      setTimeout(() => { dragged = false; });
      finish(start, placeIn(svg, later), later.type === "pointerup");
    };
    element.addEventListener("pointermove", follow);
    for (const kind of ["pointerup", "pointercancel"]) element.addEventListener(kind, stop);
  });
}

function zoomByDragging(svg, scaleX, scaleY, choices) {
  const frame = makeSvg("rect", { class: "frame" });
  const spans = ([x0, y0], [x1, y1]) => [[Math.min(x0, x1), Math.max(x0, x1)], [Math.min(y0, y1), Math.max(y0, y1)]];
  onDrag(svg, svg, (from, to) => {
    const [[left, right], [top, bottom]] = spans(from, to);
    for (const [key, value] of Object.entries({ x: left, y: top, width: right - left, height: bottom - top })) frame.setAttribute(key, value);
    svg.append(frame);
  }, (from, to, done) => {
    frame.remove();
    const [across, down] = spans(from, to);
    const narrow = ([low, high]) => high - low <= DRAG; // along one axis only
    const x = narrow(across) ? [scaleX.low, scaleX.high] : across.map(scaleX.value);
    const y = narrow(down) ? [scaleY.low, scaleY.high] : down.map(scaleY.value).reverse();
    if (done) choices.zoomTo({ x, y });
  });
  svg.addEventListener("dblclick", () => choices.zoomTo(null));
}

// Calls `draw` when the width of the plots has changed; their height follows from drawing.
function redrawOnResize(holder, draw) {
  let width = holder.clientWidth, timer = 0;
  new ResizeObserver(() => {
    if (holder.clientWidth === width) return;
    width = holder.clientWidth;
    clearTimeout(timer);
    timer = setTimeout(draw, 80);
  }).observe(holder);
}
