// The page works without this: it only sends the form as it changes, and copies.
"use strict";

const form = document.getElementById("planner");
const results = document.getElementById("results");
const before = document.getElementById("before");
const status = document.getElementById("status");
const PAUSE_MS = 120;
let timer = 0;
let running = null;

document.documentElement.classList.add("js");

function say(text) {
  if (status.textContent !== text) status.textContent = text;
}

// What is wrong stands next to the form, and its field is marked.
function showProblems(problems) {
  const marked = new Set();
  const messages = new Map();
  for (const problem of problems) {
    const { error: prefix, field: name } = problem.dataset;
    messages.set(`${prefix}error`, problem.textContent);
    if (name) marked.add(prefix + name);
  }
  for (const box of form.querySelectorAll(".error")) {
    const text = messages.get(box.id) ?? "";
    if (box.textContent !== text) box.textContent = text;
  }
  for (const field of form.querySelectorAll("input, select, textarea")) {
    if (marked.has(field.id)) {
      field.setAttribute("aria-invalid", "true");
      field.setAttribute("aria-describedby", field.closest(".plan").querySelector(".error").id);
    } else {
      field.removeAttribute("aria-invalid");
      field.removeAttribute("aria-describedby");
    }
  }
}

// A plan says itself what is left empty.
function showEmpty(ofPlan) {
  form.querySelectorAll(".plan").forEach((plan, index) => {
    for (const field of plan.querySelectorAll("[data-empty]")) {
      const text = ofPlan[index] === "yes" ? "its own" : field.dataset.empty;
      if (field.options) field.options[0].textContent = text;
      else field.placeholder = text;
    }
  });
}

function show(text) {
  const answer = document.createElement("template");
  answer.innerHTML = text;
  const problems = answer.content.querySelectorAll("[data-error]");
  showProblems(problems);
  const kept = problems.length > 0 && results.querySelector("table");
  before.textContent = kept ? "These are the numbers from before: what is typed now has none." : "";
  if (kept) return;
  const open = [...results.querySelectorAll("details[open]")].map((one) => one.id);
  results.replaceChildren(answer.content);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  const { summary, link, ofPlan } = document.getElementById("state").dataset;
  showEmpty(ofPlan.split(" "));
  say(summary);
  if (link) history.replaceState(null, "", link);
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
    else before.textContent = text;
  } catch (error) {
    if (error.name !== "AbortError") {
      before.textContent = "The planner does not answer. Is microdollar ui still running?";
    }
  }
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const label = button.dataset.label ?? button.textContent;
  button.dataset.label = label;
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(source);
    button.textContent = "Selected: press Ctrl-C";
  }
  say(button.textContent);
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

// After a second plan was added or taken away, the address is that of what is shown.
const { link } = document.getElementById("state").dataset;
if (link && form.dataset.sent) history.replaceState(null, "", link);
