// Colors of jobs: one for each job or group, or one for each value of a key.

// Distinct on white and on black, also with most kinds of color blindness.
const PALETTE = [
  "#2f7ed8", "#d9661f", "#2a9d57", "#c2459b", "#b38600", "#14a3b8", "#8d63d2", "#d1495b",
  "#7d8a2e", "#6d7f94",
];

// Many jobs have too many colors to tell them apart: the values of a key have fewer.
function defaultColor(keys) {
  if (jobs.length <= PALETTE.length) return "job";
  const counts = keys.map((key) => new Set(jobs.map(columnById.get(`key:${key}`).of)).size);
  return keys.find((_, place) => counts[place] <= PALETTE.length) ?? "job";
}

// What gives a job its color; the text in the legend.
function colorName(index) {
  return state.colorBy === "job" ? entryName(index) : `${state.colorBy}=${columnById.get(`key:${state.colorBy}`).of(jobs[index])}`;
}

let colors = new Map();

function assignColors() {
  const names = [...new Set(jobs.map((_, index) => colorName(index)))];
  const column = columnById.get(`key:${state.colorBy}`);
  if (column?.numeric) {
    const first = (name) => column.of(jobs[jobs.findIndex((_, index) => colorName(index) === name)]);
    names.sort((one, other) => compareValues(first(one), first(other), 1));
  }
  const many = names.length > PALETTE.length;
  colors = new Map(names.map((name, place) => {
    const share = place / Math.max(1, names.length - 1);
    if (column?.numeric) return [name, `oklch(${0.5 + 0.27 * share} 0.17 ${275 + 150 * share})`]; // blue to orange
    return [name, many ? `hsl(${Math.round(share * 320)} 62% 50%)` : PALETTE[place]];
  }));
}

const colorOf = (index) => colors.get(colorName(index));
