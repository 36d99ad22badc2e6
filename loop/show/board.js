"use strict";
(() => {
  const all = (what, where = document) => [...where.querySelectorAll(what)];

  // Numbers sort by their value, the largest first; texts as people sort them.
  function sorted(head) {
    const down = head.classList.contains("num");
    const way = head.getAttribute("aria-sort") === (down ? "descending" : "ascending") ? !down : down;
    const at = [...head.parentElement.children].indexOf(head);
    const body = head.closest("table").tBodies[0];
    const value = (row) => {
      const cell = row.children[at];
      return down ? Number(cell.dataset.value || -Infinity) : cell.textContent;
    };
    const order = (a, b) => (down ? value(a) - value(b) : value(a).localeCompare(value(b)));
    body.append(...all("tr", body).sort((a, b) => (way ? order(b, a) : order(a, b))));
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", way ? "descending" : "ascending");
  }

  async function copy(button) {
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(button.parentElement);
      button.textContent = "selected";
    }
    setTimeout(() => { button.textContent = before; }, 1500);
  }

  document.addEventListener("click", (event) => {
    const head = event.target.closest?.("th")
    if (head && event.target.closest("button")) sorted(head);
    const button = event.target.closest?.("button.copy");
    if (button) copy(button);
  });
  performance.mark("ready");
})();
