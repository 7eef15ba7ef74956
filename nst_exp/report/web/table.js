// The table of all jobs, sorted by any column, and the commands to copy.

const isNumber = (text) => /^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf)$/i.test(text.trim());
const toNumber = (text) => Number(text.trim().replace(/inf$/i, "Infinity"));

function tableColumns() {
  const columns = [{ name: "job", of: (job) => job.number }];
  data.varied.forEach((key, place) => columns.push({ name: key, of: (job) => job.values[place] }));
  columns.push({ name: "status", of: (job) => job.status, status: true });
  columns.push({ name: "command", of: (job) => job.command, command: true });
  for (const name of data.losses) columns.push({ name: `${name} loss`, of: (job) => job.losses[name] });
  for (const name of data.metrics) columns.push({ name: name.replaceAll("_", " "), of: (job) => job.metrics[name] });
  for (const name of ["seconds", "evaluations"]) columns.push({ name, of: (job) => job[name] });
  return columns.filter((column) => column.name === "job" || jobs.some((job) => known(column.of(job))));
}

const known = (value) => value !== undefined && value !== null && value !== "";

// Numbers before texts; unknown values come last in both directions.
function compareValues(one, other, sign) {
  if (!known(one) || !known(other)) return known(other) - known(one);
  const numeric = [one, other].map((value) => typeof value === "number" || isNumber(value));
  if (numeric[0] && numeric[1]) return sign * (toNumber(String(one)) - toNumber(String(other)) || 0);
  if (numeric[0] !== numeric[1]) return sign * (numeric[0] ? -1 : 1);
  return sign * String(one).localeCompare(String(other), "en");
}

function fillTable() {
  const columns = tableColumns();
  const head = document.querySelector("#jobs thead tr");
  const body = document.querySelector("#jobs tbody");
  const rows = jobs.map((job, index) => ({ job, index, element: tableRow(job, index, columns) }));
  body.append(...rows.map((row) => row.element));
  document.querySelector("#table .scroll").classList.toggle("tall", jobs.length > 25);
  columns.forEach((column) => {
    if (column.command) {
      head.append(make("th", { scope: "col" }, make("span", { class: "heading" }, column.name)));
      return;
    }
    const values = jobs.map(column.of).filter(known);
    column.numeric = values.every((value) => typeof value === "number" || isNumber(value));
    const button = make("button", { type: "button" }, column.name);
    const header = make("th", { scope: "col", "aria-sort": "none" }, button);
    header.classList.toggle("number", column.numeric);
    button.addEventListener("click", () => {
      const sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of head.children) {
        if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
      }
      header.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      rows.sort((a, b) => compareValues(column.of(a.job), column.of(b.job), sign) || a.index - b.index);
      body.append(...rows.map((row) => row.element));
    });
    head.append(header);
  });
  head.firstElementChild.setAttribute("aria-sort", "ascending");
  listeners.push((index) => {
    for (const row of rows) row.element.classList.toggle("lit", row.index === index);
  });
}

function tableRow(job, index, columns) {
  const cells = columns.map((column, place) => {
    if (column.command) return make("td", {}, copyButton(job));
    const value = column.of(job);
    const text = typeof value === "number" && column.name !== "job" ? shortNumber(value) : String(value ?? "");
    const cell = make("td", { title: job.status === "failed" && column.status ? job.error : text });
    if (known(value) && (typeof value === "number" || isNumber(value))) cell.classList.add("number");
    if (place === 0) {
      const swatch = make("span", { class: "swatch" });
      swatch.style.background = colorOf(index);
      cell.append(swatch);
    }
    if (column.status) {
      const status = make("span", { class: "status" }, text);
      status.classList.add(text.replace(/\W/g, "-") || "unknown");
      cell.append(status);
    } else {
      cell.append(text);
    }
    return cell;
  });
  const row = make("tr", {}, ...cells);
  row.addEventListener("pointerenter", () => light(index));
  row.addEventListener("pointerleave", () => light(-1));
  return row;
}

function copyButton(job) {
  const attributes = { title: job.command, "aria-label": `Copy the command of job ${job.number}` };
  const button = make("button", { type: "button", ...attributes }, "Copy");
  button.addEventListener("click", () => copy(job));
  return button;
}

async function copy(job) {
  let done = false;
  try {
    await navigator.clipboard.writeText(job.command);
    done = true;
  } catch {
    // The clipboard is available only on local and encrypted pages.
    const area = make("textarea", { readonly: "" });
    area.value = job.command;
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
  }
  byId("copied").textContent = `${done ? "Copied" : "Copy this"}: ${job.command}`;
}
