// What the theme leaves out for readers without a mouse: a name for the search, and tables that are
// wider than the page can be reached and scrolled by keys.
document.querySelector(".md-search")?.setAttribute("aria-label", "Search");

const reachable = new ResizeObserver((changes) => {
  for (const { target } of changes) {
    const wide = target.scrollWidth > target.clientWidth;
    wide ? target.setAttribute("tabindex", "0") : target.removeAttribute("tabindex");
  }
});
document$.subscribe(() => {
  for (const table of document.querySelectorAll(".md-typeset__scrollwrap")) reachable.observe(table);
});
