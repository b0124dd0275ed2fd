"use strict";
const root = document.documentElement;
const button = document.querySelector("[data-theme-button]");
const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
const named = () => { button.textContent = isDark() ? "Light colours" : "Dark colours"; };
button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; named(); });
system.addEventListener("change", named);
named();
button.hidden = false;

for (const form of document.querySelectorAll("[data-filters]")) {
  const rows = [...form.nextElementSibling.querySelectorAll("tbody tr")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const output = form.querySelector("output");
  const show = () => {
    const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = [...form.querySelectorAll("select")].filter((select) => select.value);
    let count = 0;
    rows.forEach((row, i) => {
      const kept = chosen.every((select) => row.getAttribute("data-" + select.name) === select.value)
        && words.every((word) => texts[i].includes(word));
      row.hidden = !kept;
      count += kept;
    });
    output.textContent = count.toLocaleString("en") + " of " + rows.length.toLocaleString("en") + " shown";
  };
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(show));
  form.hidden = false;
  show();
}
for (const link of document.querySelectorAll("sup a")) {
  // A note below a fold is shown before it is gone to.
  link.addEventListener("click", () => {
    const fold = document.querySelector(link.getAttribute("href")).closest("details");
    if (fold) fold.open = true;
  });
}
