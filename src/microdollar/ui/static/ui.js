// The page works without this: it only sends the form as it changes, and copies.
"use strict";

const form = document.getElementById("planner");
const results = document.getElementById("results");
const status = document.getElementById("status");
const PAUSE_MS = 120;
let timer = 0;
let running = null;

document.documentElement.classList.add("js");

function say(text) {
  if (status.textContent !== text) status.textContent = text;
}

function showProblems() {
  for (const box of form.querySelectorAll(".error")) box.textContent = "";
  for (const field of form.querySelectorAll("[aria-invalid]")) {
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-describedby");
  }
  for (const problem of results.querySelectorAll("[data-error]")) {
    const box = document.getElementById(`${problem.dataset.error}error`);
    if (box) box.textContent = problem.textContent;
    const name = problem.dataset.field;
    const field = name && document.getElementById(problem.dataset.error + name);
    if (field) {
      field.setAttribute("aria-invalid", "true");
      field.setAttribute("aria-describedby", `${problem.dataset.error}error`);
    }
  }
}

function show(text) {
  const open = [...results.querySelectorAll("details[open]")].map((one) => one.id);
  results.innerHTML = text;
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  const state = document.getElementById("state");
  if (!state) return;
  showProblems();
  say(state.dataset.summary);
  if (state.dataset.link) history.replaceState(null, "", state.dataset.link);
}

async function update() {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  try {
    const answer = await fetch("/results", {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      signal: mine.signal,
    });
    const text = await answer.text();
    if (mine !== running) return;
    if (answer.status === 200 || answer.status === 422) show(text);
    else say(text);
  } catch (error) {
    if (error.name !== "AbortError") say("The planner does not answer. Is microdollar ui still running?");
  }
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
    say("Copied.");
  } catch {
    getSelection().selectAllChildren(source);
    button.textContent = "Selected: press Ctrl-C";
  }
  setTimeout(() => { button.textContent = label; }, 1500);
}

form.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(update, PAUSE_MS);
});
form.addEventListener("submit", (event) => {
  if (event.submitter?.name === "do") return;
  event.preventDefault();
  clearTimeout(timer);
  update();
});
results.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
});
const first = document.getElementById("state");
if (first?.dataset.link && location.pathname === "/" && !location.search && form.dataset.sent) {
  history.replaceState(null, "", first.dataset.link);
}
