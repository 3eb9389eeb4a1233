"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (name, text, attributes = {}) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  document.documentElement.classList.add("scripted");

  // Sorting: a button in every heading; figures by value, empty cells last both ways.
  const valueOf = (cell) => {
    const text = cell.dataset.sort ?? cell.textContent.trim();
    const number = Number(text.replaceAll(",", ""));
    return text === "" ? null : Number.isNaN(number) ? parseFloat(text) || text : number;
  };
  const compare = (a, b, direction) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a === "number" && typeof b === "number") return direction * (a - b);
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return direction * a.localeCompare(b, "en", { numeric: true });
  };
  const sortBy = (table, heading) => {
    const place = heading.cellIndex;
    const down = heading.getAttribute("aria-sort") === "ascending";
    all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row, i) => [valueOf(row.cells[place]), i, row]);
    rows.sort((a, b) => compare(a[0], b[0], down ? -1 : 1) || a[1] - b[1]);
    body.append(...rows.map((row) => row[2]));
  };
  for (const table of all("table.sortable")) {
    for (const heading of all("thead th", table)) {
      if (heading.dataset.type === "none") continue;
      const button = make("button", heading.textContent, { type: "button" });
      button.addEventListener("click", () => sortBy(table, heading));
      heading.replaceChildren(button);
    }
  }

  // Filtering: words that all must occur, and one choice for each axis; charts follow the table.
  const rows = all(".grid-table tbody tr");
  const words = document.getElementById("filter");
  const choices = all("select[data-filter]");
  const matches = (row) =>
    words.value.toLowerCase().split(/\s+/).every((word) => row.textContent.toLowerCase().includes(word)) &&
    choices.every((choice) => {
      if (choice.selectedIndex === 0) return true;
      const is = choice.dataset.filter === "status" ? row.dataset.status : row.cells[Number(choice.dataset.filter) + 2].textContent;
      return is === choice.value;
    });
  const filter = () => {
    const shown = new Set();
    for (const row of rows) {
      row.hidden = !matches(row);
      if (!row.hidden) shown.add(row.dataset.job);
    }
    for (const other of all("figure[data-job], .provenance tr[data-job]")) other.hidden = !shown.has(other.dataset.job);
    document.getElementById("shown").textContent = shown.size === rows.length ? "" : `${shown.size} of ${rows.length} jobs`;
  };
  const controls = words.form;
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("input", filter);
  controls.addEventListener("reset", () => setTimeout(filter));
  filter();

  // The difference of two jobs: settings first, then what came of them.
  const jobs = JSON.parse(document.getElementById("data").textContent);
  const [left, right, everything] = ["left", "right", "everything"].map((id) => document.getElementById(id));
  const put = (body, title, a, b) => {
    const names = [...new Set([...Object.keys(a), ...Object.keys(b)])];
    const kept = names.filter((name) => everything.checked || a[name] !== b[name]);
    if (!kept.length) return 0;
    const head = make("tr", undefined, { class: "part" });
    head.append(make("th", title, { colspan: "3", scope: "colgroup" }));
    body.append(head);
    for (const name of kept) {
      const row = make("tr", undefined, a[name] === b[name] ? {} : { class: "changed" });
      row.append(make("th", name, { scope: "row" }), make("td", a[name] ?? "(not set)"), make("td", b[name] ?? "(not set)"));
      body.append(row);
    }
    return kept.filter((name) => a[name] !== b[name]).length;
  };
  const differ = () => {
    const [a, b] = [jobs[left.value], jobs[right.value]];
    const table = document.getElementById("differences");
    const body = make("tbody");
    const changed = put(body, "Settings", a.settings, b.settings);
    if (a.simulated === b.simulated) put(body, "Results", a.results, b.results);
    table.tBodies[0].replaceWith(body);
    const apart = a.simulated === b.simulated ? "" : " One of them is simulated, so their figures are not compared.";
    table.caption.textContent = (left.value === right.value ? "Choose two different jobs." : changed === 1 ? "1 setting differs." : `${changed} settings differ.`) + apart;
  };
  if (left) {
    right.selectedIndex = Math.min(1, jobs.length - 1);
    for (const control of [left, right, everything]) control.addEventListener("change", differ);
    differ();
  }
})();
