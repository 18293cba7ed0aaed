// The inspector: a panel with what is known of one cell. Escape closes it and returns the focus.
const inspector = document.getElementById("inspector");
const exampleKinds = ["in total", "passed", "failing", "evidence", "vacuous", "not applicable", "unsupported", "broken"];
let opener = null;

/** Quote a word for a shell. */
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`);

function symbol(kind, attributes = {}) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of Object.entries(attributes)) svg.setAttribute(name, value);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i:${kind}`);
  svg.append(use);
  return svg;
}

function sign(outcome) {
  const kind = outcome.replaceAll(" ", "-");
  return symbol(kind, { class: `g ${kind}` });
}

function fact(name, value) {
  return make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value));
}

function inspect(number, from) {
  const [id, title, claim, source] = data.requirements[Math.floor(number / columns)];
  const name = data.implementations[number % columns][0];
  const word = outcomeAt(number);
  const worst = said(ratioAt(number));
  const reason = reasons.get(number) ?? "";
  const bound = data.bounds?.[data.decided[number]];
  const examples = data.examples?.[number] ?? [];
  const [before, between, after] = data.command;
  const command = before + (data.targets[number % columns] ?? quoted(name)) + between + quoted(id) + after;
  opener?.setAttribute("aria-expanded", "false");
  opener = from;
  opener.setAttribute("aria-expanded", "true");

  const heading = make("h3", { tabindex: "-1" }, title);
  const under = make("p", { class: "sub" }, `${id} on ${name}`);
  const close = make("button", { type: "button", class: "close", "aria-label": "Close details" }, "×");
  const found = `${word[0].toUpperCase()}${word.slice(1)}${worst ? `, ${worst} at worst` : ""}. ${reason}`;
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
    make("p", { class: "go" }, make("a", { href: `#${target(number)}` }, linkText(number))),
  );
  inspector.hidden = false;
  keepVisible(from);
  heading.focus({ preventScroll: true });
}

function linkText(number) {
  if (articles.has(number)) return "Counterexamples";
  return data.listed ? "All its examples" : "Link to this cell";
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
revealCell();
