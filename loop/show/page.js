"use strict";
(() => {
  const find = (what, where = document) => where.querySelector(what);
  const all = (what, where = document) => [...where.querySelectorAll(what)];
  const rows = all("details.step");
  const { group, rows: index } = JSON.parse(find("#index").textContent);
  const LONG = 3000; // characters of a text that are shown at first: about a screen

  // Everything that a run holds becomes text here, and never markup.
  function element(tag, looks, text) {
    const made = document.createElement(tag);
    if (looks) made.className = looks;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // ------------------------------------------------------------------ what is in a row
  const chunks = new Map();
  function entries(i) {
    const n = Math.floor(i / group);
    if (!chunks.has(n)) chunks.set(n, JSON.parse(find(`#data-${n}`).textContent));
    return chunks.get(n)[i % group];
  }

  const mark = (i) => (index[i][0] ? `run-${index[i][0]}-` : "");
  const COPIED = new Set(["call", "request", "parent", "prompt version", "prefix"]);

  function fact([name, value]) {
    const held = element("div");
    const told = element("dd", "", value);
    if (COPIED.has(name)) {
      const button = element("button", "copy", "copy");
      button.type = "button";
      button.dataset.copy = value;
      button.setAttribute("aria-label", `Copy ${value.slice(0, 60)}`);
      told.append(" ", button);
    }
    held.append(element("dt", "", name), told);
    return held;
  }

  function text([name, value, code]) {
    const held = element("div", code ? "text code" : "text");
    const pre = element("pre", "", value.slice(0, LONG));
    pre.tabIndex = 0;
    pre.setAttribute("role", "group");
    pre.setAttribute("aria-label", name.slice(0, 60));
    held.append(element("p", "label", name), pre);
    if (value.length > LONG) {
      const more = element("button", "more", `show all ${value.length.toLocaleString("en")} characters`);
      more.type = "button";
      more.addEventListener("click", () => {
        pre.textContent = value;
        more.remove();
        pre.focus();
      });
      held.append(more);
    }
    return held;
  }

  function entry(one, i) {
    const held = element("article", `entry ${one.kind}${one.failed ? " failed" : ""}`);
    const head = element("h4", "", one.head);
    const [first, ...others] = one.seqs;
    held.id = `${mark(i)}seq-${first}`;
    for (const seq of others) {
      const place = element("a", "place");
      place.id = `${mark(i)}seq-${seq}`;
      held.append(place);
    }
    if (one.state) head.append(" ", element("span", "state", one.state));
    const link = element("a", "seq", `#${first}`);
    link.href = `#${held.id}`;
    link.title = `event ${first}, after ${one.at}`;
    head.append(" ", link);
    held.append(head);
    if (one.child) {
      const led = element("a", "led", "the run that it led to");
      led.href = `#run-${one.child}`;
      held.append(led);
    }
    const facts = element("dl", "facts");
    facts.append(...one.facts.map(fact));
    held.append(...one.texts.map(text));
    if (one.facts.length) held.append(facts);
    return held;
  }

  function fill(row) {
    if (row.dataset.filled) return;
    row.dataset.filled = "1";
    const i = rows.indexOf(row);
    const body = element("div", "body");
    const made = entries(i);
    const together = element("div", made.filter((one) => one.call).length > 1 ? "calls several" : "calls");
    together.append(...made.filter((one) => one.call).map((one) => entry(one, i)));
    body.append(together, ...made.filter((one) => !one.call).map((one) => entry(one, i)));
    const link = element("a", "here", "link to this step");
    link.href = `#${row.id}`;
    body.append(link);
    row.append(body);
    if (words().length) paint();
  }

  document.addEventListener("toggle", (event) => {
    if (event.target.matches?.("details.step") && event.target.open) fill(event.target);
  }, true);

  // ------------------------------------------------------------------- search and filters
  const box = find("#find"), policy = find("#policy"), failed = find("#failed");
  const status = find("#status"), kinds = all("input[name=kind]");
  const texts = [];
  const words = () => box.value.toLowerCase().split(/\s+/).filter(Boolean);

  function words_of(i) {
    texts[i] ??= rows[i].firstElementChild.textContent.toLowerCase() + "\n" +
      entries(i).map((one) => [one.head, one.state, ...one.facts.flat(), ...one.texts.flat()].join("\n"))
        .join("\n").toLowerCase();
    return texts[i];
  }

  function fits(i, wanted, said) {
    const [, , , has, policies, bad] = index[i];
    return (!wanted.length || wanted.some((kind) => has.includes(kind))) &&
      (!policy.value || policies.includes(policy.value)) &&
      (!failed.checked || bad) && said.every((word) => words_of(i).includes(word));
  }

  let shown = rows;
  function filter() {
    const wanted = kinds.filter((one) => one.checked).map((one) => one.value);
    const said = words();
    const narrowed = Boolean(wanted.length || policy.value || failed.checked || said.length);
    document.body.classList.toggle("narrowed", narrowed);
    shown = [];
    rows.forEach((row, i) => {
      const hidden = narrowed && !fits(i, wanted, said);
      if (row.hidden !== hidden) row.hidden = hidden;
      if (!hidden) shown.push(row);
    });
    for (const held of all(".group, .child")) {
      held.hidden = narrowed && !find("details.step:not([hidden])", held);
    }
    status.textContent = narrowed
      ? `${shown.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} steps`
      : `${rows.length.toLocaleString("en")} steps`;
    paint();
  }

  // Marks what was searched for, without touching the document.
  function paint() {
    if (!window.CSS?.highlights) return;
    const said = words(), ranges = [];
    if (said.length) {
      for (const held of all("details.step[open]:not([hidden]) > .body")) {
        const walker = document.createTreeWalker(held, NodeFilter.SHOW_TEXT);
        while (walker.nextNode() && ranges.length < 2000) {
          const lower = walker.currentNode.data.toLowerCase();
          for (const word of said) {
            for (let at = lower.indexOf(word); at >= 0 && ranges.length < 2000; at = lower.indexOf(word, at + word.length)) {
              const range = new Range();
              if (at + word.length > walker.currentNode.length) break;
              range.setStart(walker.currentNode, at);
              range.setEnd(walker.currentNode, at + word.length);
              ranges.push(range);
            }
          }
        }
      }
    }
    CSS.highlights.set("found", new Highlight(...ranges));
  }

  const chosen = () => ({
    find: box.value, policy: policy.value, failed: failed.checked,
    kinds: kinds.filter((one) => one.checked).map((one) => one.value),
  });

  function choose(state) {
    box.value = state?.find ?? "";
    policy.value = state?.policy ?? "";
    failed.checked = Boolean(state?.failed);
    for (const one of kinds) one.checked = Boolean(state?.kinds?.includes(one.value));
    filter();
  }

  // A choice is a place to come back to; each key of a search is not.
  const keep = (how) => history[how](chosen(), "");
  let typing = 0;
  box.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => { filter(); keep("replaceState"); }, 80);
  });
  box.addEventListener("change", () => { clearTimeout(typing); filter(); keep("replaceState"); });
  for (const one of [...kinds, policy, failed]) {
    one.addEventListener("change", () => { keep("pushState"); filter(); });
  }
  addEventListener("popstate", (event) => { if (event.state) choose(event.state); });

  // ----------------------------------------------------------------------- places and keys
  function row_of(hash) {
    const step = document.getElementById(hash);
    if (step?.matches("details.step")) return step;
    const [, run, seq] = /^(?:run-(\d+)-)?seq-(\d+)$/.exec(hash) ?? [];
    if (!seq) return null;
    const at = index.findIndex(([n, first, last]) => n === Number(run ?? 0) && first <= seq && seq <= last);
    return rows[at] ?? null;
  }

  function go() {
    const hash = location.hash.slice(1); // our names need no escapes
    const row = row_of(hash);
    if (!row) return document.getElementById(hash)?.scrollIntoView();
    if (row.hidden) choose(null);
    lay(row);
    open(row);
    const place = document.getElementById(hash) ?? row;
    all(".here-now").forEach((one) => one.classList.remove("here-now"));
    (place.closest(".entry") ?? row).classList.add("here-now");
    find("summary", row).focus({ preventScroll: true });
    place.scrollIntoView({ block: "start" });
  }

  // What the browser has left out so far cannot take the focus.
  function lay(row) {
    for (let held = row.closest(".group"); held; held = held.parentElement.closest(".group")) {
      held.classList.add("seen");
    }
  }

  function open(row) {
    row.open = true;
    fill(row);
  }

  addEventListener("hashchange", () => { go(); keep("replaceState"); });
  document.addEventListener("click", (event) => {
    const to = event.target.closest?.("[data-to]")?.dataset.to;
    if (to) location.hash = to;
    const same = event.target.closest?.("a[href^='#']");
    if (same && same.hash === location.hash) go();
    const copied = event.target.closest?.("button.copy");
    if (copied) copy(copied);
  });

  async function copy(button) {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(button.parentElement);
      button.textContent = "selected";
    }
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  }

  function move(by) {
    const at = shown.indexOf(document.activeElement?.closest("details.step"));
    const to = shown[Math.min(Math.max(at + by, 0), shown.length - 1)];
    if (!to) return;
    lay(to);
    const line = find("summary", to);
    line.focus({ preventScroll: true });
    line.scrollIntoView({ block: "nearest" });
  }

  const help = find("#help");
  const KEYS = {
    j: () => move(1), k: () => move(-1),
    "/": () => box.focus(),
    "?": () => help.showModal(),
    Escape: () => { keep("pushState"); choose(null); },
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const writing = event.target.matches("input[type=search], select");
    const onLine = event.target.matches("summary");
    const arrow = onLine && { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const act = arrow ? () => move(arrow) : KEYS[event.key];
    if (!act || (writing && event.key !== "Escape")) return;
    event.preventDefault();
    if (writing) event.target.blur();
    act();
  });
  find("#help-button").addEventListener("click", () => help.showModal());
  find("#help-close").addEventListener("click", () => help.close());

  const opener = find("#open-all");
  const AT_ONCE = 200; // rows that one press opens: more than anybody reads
  opener.addEventListener("click", () => {
    const closing = shown.some((row) => row.open);
    for (const row of closing ? shown : shown.slice(0, AT_ONCE)) closing ? (row.open = false) : open(row);
    opener.textContent = closing ? "open all" : "close all";
  });

  find(".tools").hidden = false;
  if (history.state) choose(history.state); else filter();
  if (location.hash) {
    go();
    addEventListener("load", () => setTimeout(go)); // after the browser's own idea of the place
  }
  keep("replaceState"); // each place has a choice of its own to come back to
  performance.mark("ready");
})();
