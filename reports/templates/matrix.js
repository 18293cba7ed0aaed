// The matrix: filter by outcome, find a requirement, marks or numbers, arrow keys, results as CSV.
const matrix = find("table.mx");
const columns = data.implementations.length;

/** The values of cells by their numbers, from each value with the distances between its cells. */
function byCell(values) {
  const cells = new Map();
  for (const [value, distances] of values ?? []) {
    let number = 0;
    for (const distance of distances) cells.set(number += distance, value);
  }
  return cells;
}

const found = data.found.replace(/(\D)(\d+)/g, (_, letter, many) => letter.repeat(many));
const reasons = byCell(data.reasons);
const others = byCell(data.others);
const outcomeOf = (element) => found.charCodeAt(element.dataset.c) - 97;
let chosen = null;
let wanted = "";

const filtered = () => chosen !== null || wanted !== "";

function applyFilters() {
  for (const button of all(".legend button")) button.setAttribute("aria-pressed", Number(button.dataset.outcome) === chosen);
  for (const row of all("table.pr tr.r")) row.hidden = chosen !== null && outcomeOf(row) !== chosen;
  for (const body of all("table.pr tbody")) body.hidden = all("tr.r", body).every((row) => row.hidden);
  if (!matrix) return;
  matrix.classList.toggle("dim", chosen !== null);
  for (const cell of all("a.c", matrix)) cell.classList.toggle("keep", outcomeOf(cell) === chosen);
  for (const row of all("tr.r", matrix)) row.hidden = !find("th", row).textContent.toLowerCase().includes(wanted);
  for (const body of all("tbody", matrix)) body.hidden = all("tr.r", body).every((row) => row.hidden);
}

// The tally is a list; with scripts each outcome becomes a filter.
for (const item of all(".legend li[data-outcome]")) {
  const outcome = Number(item.dataset.outcome);
  const button = make("button", { type: "button", "aria-pressed": "false", "data-outcome": outcome }, ...item.childNodes);
  item.replaceChildren(button);
  button.addEventListener("click", () => {
    chosen = chosen === outcome ? null : outcome;
    applyFilters();
    if (chosen !== null) find("#matrix, #requirements").scrollIntoView({ block: "start" });
  });
}

for (const tools of all(".tools")) tools.hidden = false;
find(".find")?.addEventListener("input", (event) => {
  wanted = event.target.value.trim().toLowerCase();
  applyFilters();
});
find(".seg")?.addEventListener("click", (event) => {
  const pressed = event.target.closest("button");
  if (!pressed) return;
  for (const button of all(".seg button")) button.setAttribute("aria-pressed", button === pressed);
  matrix.classList.toggle("numbers", pressed.dataset.show === "numbers");
  for (const cell of all("a.c", matrix)) fill(cell, Number(cell.dataset.c));
});

/** One tab stop for the whole matrix; arrow keys, Home and End move within it. */
function moveInMatrix(event) {
  const cell = event.target.closest("a.c");
  if (!cell) return;
  const rows = all("tr.r", matrix).filter((row) => !row.hidden).map((row) => all("a.c", row));
  const y = rows.findIndex((row) => row.includes(cell));
  const x = rows[y].indexOf(cell);
  const goal = {
    ArrowUp: [y - 1, x],
    ArrowDown: [y + 1, x],
    ArrowLeft: [y, x - 1],
    ArrowRight: [y, x + 1],
    Home: [y, 0],
    End: [y, rows[y].length - 1],
  }[event.key];
  if (!goal) return;
  event.preventDefault();
  const next = rows[goal[0]]?.[goal[1]];
  if (!next) return;
  cell.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

function readyMatrix() {
  all("a.c", matrix).forEach((cell, place) => {
    cell.tabIndex = place ? -1 : 0;
    // A cell that leads nowhere else is an address of its own.
    if (!cell.hasAttribute("href")) cell.setAttribute("href", `#${cell.id}`);
  });
}

if (matrix) {
  for (const row of all("tr.r", matrix)) {
    all("a.c", row).forEach((cell, place) => { cell.dataset.c = row.dataset.r * columns + data.shown[place]; });
  }
  readyMatrix();
  matrix.addEventListener("keydown", moveInMatrix);
}

/** Quote a field; a leading sign would make a spreadsheet take text for a formula. */
function csvField(value) {
  const text = String(value ?? "");
  return `"${(/^[=+@-]/.test(text) && typeof value === "string" ? `'${text}` : text).replaceAll('"', '""')}"`;
}

find(".csv")?.addEventListener("click", () => {
  const rows = [...found].map((_, number) => [
    data.requirements[Math.floor(number / columns)][0],
    data.implementations[number % columns][0],
    outcomeAt(number),
    ratioAt(number),
    ...(data.examples?.[number] ?? Array(8).fill("")),
    reasons.get(number),
  ]);
  const head = ["requirement", "implementation", "outcome", "worst_ratio", "examples", "passed", "failing", "evidence",
    "vacuous", "not_applicable", "unsupported", "broken", "reason"];
  const text = [head, ...rows].map((row) => row.map(csvField).join(",")).join("\r\n");
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  make("a", { href: address, download: "bn-conformance.csv" }).click();
  URL.revokeObjectURL(address);
});
