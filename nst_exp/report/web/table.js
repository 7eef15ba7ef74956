// The table of jobs or groups: sorted by any column, filtered, with the columns that are chosen.

// Of a group, one number for each measured column.
const meanText = ({ mean, deviation }) =>
  mean === null ? "" : shortNumber(mean) + (deviation === null ? "" : ` ± ${shortNumber(deviation)}`);

function tableColumns() {
  const shown = columns.filter((column) => column.id === "job" || shownColumns.has(column.id));
  if (!state.over) return shown;
  const group = { id: "job", name: "jobs", of: (job) => job.number };
  return [group, ...shown.filter((column) => column.measured || (column.key && column.key !== state.over))];
}

function fillTable() {
  if (jobs.length === 1) { fillFacts(); return; }
  fillColumnChoices();
  let head = "";
  views.push(() => {
    const wanted = [...shownColumns, state.over].join(" ");
    if (head !== wanted) fillTableHead();
    head = wanted;
    showSorting();
    document.querySelector("#jobs tbody").replaceChildren(...entries.map(tableRow));
    noteScrolling();
  });
  selectionViews.push(showSelectedRow);
  document.querySelector("#table .scroll").classList.toggle("tall", jobs.length > 25);
  new ResizeObserver(noteScrolling).observe(document.querySelector("#table .scroll"));
}

function fillColumnChoices() {
  for (const column of columns.filter((one) => one.id !== "job")) {
    const box = make("input", { type: "checkbox" });
    box.checked = shownColumns.has(column.id);
    box.addEventListener("change", () => {
      if (box.checked) shownColumns.add(column.id);
      else shownColumns.delete(column.id);
      refresh();
    });
    byId("column-choices").append(make("label", {}, box, column.name));
  }
  views.push(() => {
    byId("column-count").textContent = `Columns (${shownColumns.size} of ${columns.length})`;
  });
}

function fillTableHead() {
  const names = make("tr"), filters = make("tr", { class: "filters" });
  for (const column of tableColumns()) {
    const header = make("th", { scope: "col" });
    header.classList.toggle("number", Boolean(column.numeric));
    if (column.id === "command") {
      header.append(make("span", { class: "heading" }, column.name));
    } else {
      const button = make("button", { type: "button" }, column.name);
      header.dataset.column = column.id;
      button.addEventListener("click", () => {
        const again = state.sort.id === column.id && state.sort.sign > 0;
        state.sort = { id: column.id, sign: again ? -1 : 1 };
        refresh();
      });
      header.append(button);
    }
    names.append(header);
    filters.append(make("td", {}, ...(["job", "command"].includes(column.id) ? [] : [filterBox(column)])));
  }
  document.querySelector("#jobs thead").replaceChildren(names, filters);
}

function filterBox(column) {
  const hint = column.numeric ? "min..max" : "text";
  const box = make("input", { type: "search", placeholder: hint, size: 7, "aria-label": `Filter ${column.name}` });
  box.value = state.filters.get(column.id) || "";
  box.dataset.filter = column.id;
  box.addEventListener("input", () => setFilter(column.id, box.value));
  return box;
}

function showSorting() {
  for (const header of document.querySelectorAll("#jobs th[data-column]")) {
    const direction = state.sort.sign > 0 ? "ascending" : "descending";
    header.setAttribute("aria-sort", header.dataset.column === state.sort.id ? direction : "none");
  }
  for (const box of document.querySelectorAll("#jobs [data-filter]")) {
    if (box !== document.activeElement) box.value = state.filters.get(box.dataset.filter) || "";
  }
}

function tableRow(entry) {
  const cells = tableColumns().map((column) => tableCell(entry, column));
  return make("tr", { "data-jobs": entry.jobs.join(" ") }, ...cells);
}

function tableCell(entry, column) {
  const job = jobs[entry.jobs[0]];
  if (column.id === "job") {
    const all = finished(entry).length === entry.jobs.length;
    const count = all ? String(entry.jobs.length) : `${finished(entry).length} of ${entry.jobs.length}`;
    const button = make("button", { type: "button", class: "pick", title: entry.name }, makeSwatch(colorOf(entry.jobs[0])), state.over ? count : String(job.number));
    return make("td", { class: "number" }, button);
  }
  if (column.id === "command") return make("td", {}, copyButton(job));
  if (state.over && column.measured) {
    const found = statistics(entry, column);
    const title = found.mean === null ? "" : `mean ${found.mean}, standard deviation ${found.deviation ?? "not available"}, jobs ${found.count}`;
    return make("td", { class: "number", title }, meanText(found));
  }
  const value = column.of(job);
  const text = typeof value === "number" ? shortNumber(value) : String(value ?? "");
  const cell = make("td", { title: column.id === "status" && job.error ? job.error : String(value ?? "") });
  cell.classList.toggle("number", numberIn(value) !== null);
  cell.append(column.id === "status" ? statusOf(job) : text);
  return cell;
}

function statusOf(job) {
  const status = make("span", { class: "status" }, job.status);
  status.classList.add(job.status.replace(/\W/g, "-") || "unknown");
  return status;
}

function noteScrolling() {
  const holder = document.querySelector("#table .scroll");
  byId("table-scrolls").hidden = holder.scrollWidth <= holder.clientWidth;
}

// Within a table that scrolls, not on the page.
function showSelectedRow() {
  const holder = document.querySelector("#table .scroll");
  const row = holder.querySelector("tr.is-a");
  if (!row) return;
  const above = holder.querySelector("thead").offsetHeight;
  holder.scrollTop = Math.min(holder.scrollTop, row.offsetTop - above);
  holder.scrollTop = Math.max(holder.scrollTop, row.offsetTop + row.offsetHeight - holder.clientHeight);
}

// What a table of a single run would say, from top to bottom.
function fillFacts() {
  renameSection("table", "Record");
  const [job] = jobs;
  const facts = columns.filter((column) => !["job", "status", "command"].includes(column.id)).map((column) => {
    const value = column.of(job);
    return [column.name, typeof value === "number" ? shortNumber(value) : value];
  });
  const terms = [["status", statusOf(job)], ["folder", makeLink(job.folder)], ["command", job.command], ["", copyButton(job)], ...facts];
  const list = make("dl", { class: "facts" }, ...terms.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  byId("table-body").replaceChildren(list);
}

// ---------------------------------------------------------------------------- commands

function copyButton(job) {
  const attributes = { title: job.command, "aria-label": `Copy the command of job ${job.number}` };
  const button = make("button", { type: "button", class: "copy", ...attributes }, "Copy");
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
