// Theme, copy buttons, the table of contents and printing. The page is complete without any of it.
"use strict";

const find = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const data = JSON.parse(document.getElementById("data").textContent);

/** Make an element; text is always text, never markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const themeButton = find(".theme");
const themes = ["system", "light", "dark"];
let theme = 0;
themeButton.hidden = false;
themeButton.addEventListener("click", () => {
  theme = (theme + 1) % themes.length;
  if (theme) document.documentElement.dataset.theme = themes[theme];
  else delete document.documentElement.dataset.theme;
  themeButton.textContent = `Theme: ${themes[theme]}`;
});

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

for (const button of all(".copy")) button.hidden = false;
document.addEventListener("click", async (event) => {
  const button = event.target.closest(".copy");
  if (!button) return;
  await copyText(find("pre, code", button.closest(".code, .command")).textContent);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1400);
});

/** Open the details that hold the element which the address names. */
function reveal() {
  let element = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!element) return;
  const target = element;
  for (; element; element = element.parentElement) if (element.tagName === "DETAILS") element.open = true;
  target.scrollIntoView({ block: target.tagName === "TR" ? "center" : "start" });
}
addEventListener("hashchange", reveal);
if (location.hash) reveal();

const closedByReader = [];
addEventListener("beforeprint", () => {
  for (const details of all("details:not([open])")) closedByReader.push(details), (details.open = true);
});
addEventListener("afterprint", () => {
  for (const details of closedByReader.splice(0)) details.open = false;
});

const contents = all("nav.toc a");
const observer = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const link of contents) {
      if (link.getAttribute("href") === `#${entry.target.id}`) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }
}, { rootMargin: "-10% 0px -75% 0px" });
for (const section of all("main section[id], main header[id]")) observer.observe(section);
