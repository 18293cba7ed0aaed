// The environments of the matrix: the cells of the chosen one are drawn when it is chosen.
const articles = new Set(data.articles);

function anchor(number) {
  const id = data.requirements[Math.floor(number / columns)][0];
  const plain = `${id}-${data.implementations[number % columns][0]}`.replace(/[^A-Za-z0-9_.-]+/g, "-").slice(0, 80);
  return data.anchors[number] ?? plain;
}

function target(number) {
  return articles.has(number) ? anchor(number) : `${data.listed ? "row" : "cell"}:${anchor(number)}`;
}

const superscript = (text) => [...String(text)].map((digit) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(digit)]).join("");

/** Print an error / bound as the rest of the page does. */
function ratioText(value) {
  const x = Number(value);
  if (!Number.isFinite(x)) return value === "nan" ? "NaN" : "∞";
  if (x === 0) return "0";
  if (x >= 1e-4 && x < 1) return String(Number(x.toPrecision(2)));
  if (x >= 1 && x < 1e5) return x.toFixed(x < 100 ? 1 : 0);
  const [mantissa, exponent] = x.toExponential(1).split("e");
  return `${mantissa} × 10${superscript(Number(exponent))}`;
}

/** Say an error / bound in words. */
function said(value) {
  if (value === null) return "";
  if (value === "nan") return "not finite";
  if (value === "inf" || value === "-inf") return "infinitely far beyond the bound";
  if (value === 0) return "exact";
  return `${ratioText(value)} ${value <= 1 ? "of the bound" : "times the bound"}`;
}

/** Print an error / bound for a narrow cell. */
function narrow(value) {
  if (value === null) return "";
  const x = Number(value);
  if (!Number.isFinite(x) || x === 0) return ratioText(value);
  if (x < 0.001 || x >= 10000) return x.toExponential(0).replace("+", "");
  if (x < 0.995) return x.toFixed(x >= 0.0995 ? 2 : 3).replace(/^0/, "");
  return x.toFixed(x < 10 ? 1 : 0);
}

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** The worst error / bound of a cell: as it is, or two letters for its logarithm where there are many cells. */
function ratioAt(number) {
  if (data.ratios) return data.ratios[number];
  if (others.has(number)) return others.get(number);
  const [high, low] = data.packed.slice(2 * number, 2 * number + 2);
  const code = digits.indexOf(high) * 64 + digits.indexOf(low);
  return code > 1 ? Number((2 ** ((code - 4095) / data.parts)).toPrecision(2)) : [null, 0][code];
}

const outcomeAt = (number) => data.outcomes[found.charCodeAt(number) - 97];

/** Make a cell of the matrix say what is known of a cell of the results; what stays the same is not touched. */
function fill(cell, number) {
  const outcome = outcomeAt(number);
  const ratio = ratioAt(number);
  const passing = outcome === "pass";
  const printed = passing || outcome === "fail";
  const kind = outcome.replaceAll(" ", "-");
  const near = passing && ratio !== null && Number(ratio) >= 0.6 ? " near" : "";
  const words = printed ? `, ${said(ratio) || reasons.get(number) || ""}` : "";
  const edge = passing && ratio ? Math.max(2, Math.round(10 * Math.min(Math.max(Math.log2(ratio) + 10, 0), 10))) : null;
  const place = target(number);
  cell.className = `c ${kind}${near}`;
  cell.dataset.c = number;
  cell.setAttribute("href", `#${place}`);
  cell.setAttribute("aria-label", `${data.implementations[number % columns][0]}: ${outcome}${words}`);
  if (data.listed || articles.has(number)) cell.removeAttribute("id");
  else cell.id = place;
  if (edge === null) cell.removeAttribute("style");
  else cell.style.setProperty("--w", edge);
  const text = near || outcome === "fail" || matrix.classList.contains("numbers") ? narrow(ratio) : "";
  if (!passing && !text) cell.replaceChildren(symbol(kind));
  else if (!text) cell.replaceChildren();
  else if (cell.firstElementChild?.tagName === "I") cell.firstElementChild.textContent = text;
  else cell.replaceChildren(make("i", {}, text));
  return cell;
}

function drawRow(row, chosen, first, start) {
  const cells = [...row.children].slice(1);
  if (cells.length !== chosen.length) {
    row.replaceChildren(row.firstElementChild, ...chosen.map((column) => make("td", {}, fill(make("a"), start + column))));
  } else cells.forEach((cell, place) => fill(cell.firstElementChild, start + chosen[place]));
  [...row.children].slice(1).forEach((cell, place) => cell.classList.toggle("gp", first.has(chosen[place])));
}

/** The two rows above the matrix: framework with version, then implementation. */
function drawnHead(chosen) {
  const groups = [];
  for (const column of chosen) {
    const [framework, version] = data.systems[data.implementations[column][1]];
    const last = groups.at(-1);
    if (last && last.framework === framework && last.version === version) last.members.push(column);
    else groups.push({ framework, version, members: [column] });
  }
  const first = new Set(groups.map((group) => group.members[0]));
  const above = groups.map((group) => make("th", { class: "fw gp", colspan: group.members.length, scope: "colgroup" },
    group.framework || "Implementation", make("span", {}, group.version)));
  const below = chosen.map((column) => {
    const parts = data.implementations[column][0].split(/(?<=[._])/).flatMap((part) => [part, make("wbr")]);
    return make("th", first.has(column) ? { class: "gp", scope: "col" } : { scope: "col" }, ...parts);
  });
  return { above, below, first };
}

function drawMatrix(chosen) {
  const { above, below, first } = drawnHead(chosen);
  const [top, bottom] = all("thead tr", matrix);
  top.replaceChildren(top.firstElementChild, ...above);
  bottom.replaceChildren(...below);
  matrix.style.setProperty("--columns", chosen.length);
  find("colgroup", matrix).lastElementChild.span = chosen.length;
  for (const heading of all("th[scope='rowgroup']", matrix)) heading.colSpan = chosen.length + 1;
  for (const row of all("tr.r", matrix)) drawRow(row, chosen, first, row.dataset.r * columns);
  readyMatrix();
  if (filtered()) applyFilters();
}

const chooser = find("select.place");
function choose(place) {
  const [name, about, members] = data.environments[place] ?? ["", "", [...data.implementations.keys()]];
  closeInspector();
  drawMatrix(members);
  find("#matrix .about").textContent = name && `${name}: ${about}`;
}
chooser?.addEventListener("change", () => choose(Number(chooser.value)));

/** A link to a cell of another environment chooses that one. */
function revealCell() {
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (!chooser || !wanted.startsWith("cell:") || document.getElementById(wanted)) return;
  for (let number = 0; number < found.length; number += 1) {
    if (target(number) !== wanted) continue;
    const place = data.environments.findIndex(([, , members]) => members.includes(number % columns));
    chooser.value = place;
    choose(place);
    reveal();
    return;
  }
}
addEventListener("hashchange", revealCell);
