// The inspector: a panel with what is known of one cell. Escape closes it and returns the focus.
const inspector = document.getElementById("inspector");
const exampleKinds = ["in total", "passed", "failing", "evidence", "vacuous", "not applicable", "unsupported", "broken"];
let opener = null;

function sign(outcome) {
  const kind = outcome.replaceAll(" ", "-");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", `g ${kind}`);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i:${kind}`);
  svg.append(use);
  return svg;
}

function fact(name, value) {
  return make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value));
}

function inspect(number, from) {
  const columns = data.implementations.length;
  const [outcome, , said, bound, examples, reason, target, command] = data.cells[number];
  const [id, title, claim, source] = data.requirements[Math.floor(number / columns)];
  const word = data.outcomes[outcome];
  opener?.setAttribute("aria-expanded", "false");
  opener = from;
  opener.setAttribute("aria-expanded", "true");

  const heading = make("h3", { tabindex: "-1" }, title);
  const under = make("p", { class: "sub" }, `${id} on ${data.implementations[number % columns]}`);
  const close = make("button", { type: "button", class: "close", "aria-label": "Close details" }, "×");
  const found = `${word[0].toUpperCase()}${word.slice(1)}${said ? `, ${said} at worst` : ""}. ${reason}`;
  const counts = exampleKinds.map((kind, place) => [kind, examples[place]]).filter(([, count]) => count);
  const facts = make("tbody", {}, fact("Claim", claim));
  if (source) facts.append(fact("Source", source));
  if (bound) facts.append(fact("Decided by", `${bound} bound`));
  if (counts.length) facts.append(fact("Examples", counts.map(([kind, count]) => `${count} ${kind}`).join(", ")));
  inspector.replaceChildren(
    make("header", {}, make("div", {}, heading, under), close),
    make("p", { class: "found" }, sign(word), make("span", {}, found)),
    make("table", { class: "kv" }, facts),
    make("div", { class: "command" }, make("code", {}, command), make("button", { type: "button", class: "copy" }, "Copy")),
    make("p", { class: "go" }, make("a", { href: `#${target}` }, target.startsWith("row:") ? "All its examples" : "Counterexamples")),
  );
  inspector.hidden = false;
  keepVisible(from);
  heading.focus({ preventScroll: true });
}

/** Scroll the cell out from under the panel. */
function keepVisible(cell) {
  const panel = inspector.getBoundingClientRect();
  const box = cell.getBoundingClientRect();
  if (box.right > panel.left && box.bottom > panel.top) scrollBy({ top: box.bottom - panel.top + 24 });
}

function closeInspector() {
  if (inspector.hidden) return;
  inspector.hidden = true;
  opener?.setAttribute("aria-expanded", "false");
  opener?.focus({ preventScroll: true });
}

matrix?.addEventListener("click", (event) => {
  const cell = event.target.closest("a.c");
  if (!cell || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  inspect(Number(cell.dataset.c), cell);
});
inspector.addEventListener("click", (event) => {
  if (event.target.closest(".close, a")) closeInspector();
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeInspector();
});
