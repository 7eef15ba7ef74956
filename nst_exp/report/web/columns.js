// What is known about jobs: the columns of the table, also the axes of the plots.

const MAIN_METRICS = 3; // shown at first, as are most other columns
const columns = makeColumns();
const columnById = new Map(columns.map((column) => [column.id, column]));

const shownColumns = new Set(columns.filter((column) => !column.extra).map((column) => column.id));

function makeColumns() {
  const found = [{ id: "job", name: "job", of: (job) => job.number }];
  data.varied.forEach((key, place) => found.push({ id: `key:${key}`, name: key, key, of: (job) => job.values[place] }));
  found.push({ id: "status", name: "status", of: (job) => job.status, extra: jobs.every((job) => job.status === "done") });
  found.push({ id: "command", name: "command", of: (job) => job.command });
  for (const name of data.losses) {
    found.push({ id: `loss:${name}`, name: `${name} loss`, measured: true, of: (job) => job.losses[name], extra: name === "tv" });
  }
  data.metrics.forEach((name, place) => found.push({
    id: `metric:${name}`, name: name.replaceAll("_", " "), measured: true, of: (job) => job.metrics[name], extra: place >= MAIN_METRICS,
  }));
  for (const name of ["seconds", "evaluations"]) {
    found.push({ id: `run:${name}`, name, measured: true, of: (job) => job[name], extra: name === "evaluations" });
  }
  const useful = found.filter((column) => jobs.some((job) => known(column.of(job))));
  for (const column of useful) {
    const values = jobs.map(column.of).filter(known);
    column.numeric = values.every((value) => numberIn(value) !== null);
    column.differs = new Set(values).size > 1;
  }
  return useful;
}

// Columns that have a number for at least one job.
function numberColumns() {
  const able = columns.filter((column) => (column.measured || column.key) && jobs.some((job) => numberIn(column.of(job)) !== null));
  return able.sort((a, b) => Boolean(a.key) - Boolean(b.key));
}
