// Makes the console smoother; every page works without it. One file, no inline code, no expressions.
(() => {
  "use strict";
  const find = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // ---- keys: j k ? q u and, on an alert, f n w r. A person can switch them off (WCAG 2.1.4). ----
  const remembered = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
  const remember = (name, value) => { try { localStorage.setItem(name, value); } catch { /* private window */ } };
  const switchBox = find("#keys-on");
  if (switchBox) {
    switchBox.checked = remembered("keys") !== "off";
    switchBox.addEventListener("change", () => remember("keys", switchBox.checked ? "on" : "off"));
  }
  const typing = (element) => element && element.matches("input:not([type=radio]):not([type=checkbox]), textarea, select");

  function step(by) {
    const links = all("[data-item] [data-open]");
    if (!links.length) return;
    const here = links.findIndex((link) => link === document.activeElement || link.closest("[data-item]").contains(document.activeElement));
    const next = here < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(Math.max(here + by, 0), links.length - 1);
    links[next].focus();
    links[next].scrollIntoView({ block: "nearest" });
  }

  function toggleKeys() {
    const panel = find("#keys");
    if (panel) panel.hidden = !panel.hidden;
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape" && find("#keys") && !find("#keys").hidden) { toggleKeys(); return; }
    if (typing(event.target)) return;
    if (event.key === "?") { toggleKeys(); event.preventDefault(); return; }
    if (!switchBox || !switchBox.checked) return;
    const choice = find(`input[data-key="${CSS.escape(event.key)}"]`);
    if (choice) { choice.checked = true; choice.focus(); event.preventDefault(); return; }
    if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "q") location.assign("/");
    else if (event.key === "u" && find("[data-undo]")) find("[data-undo]").requestSubmit();
    else return;
    event.preventDefault();
  });

  // ---- after a failed form: the summary gets the focus, so that it is read first ----
  const summary = find("[data-focus]");
  if (summary) summary.focus();

  // ---- drafts: what was typed survives a reload or a lost session, in this tab only ----
  for (const field of all("[data-draft]")) {
    const name = `draft ${location.pathname.replace(/\/(verdict|undo|notes|close|reopen)$/, "")} ${field.name}`;
    try {
      if (!field.value) field.value = sessionStorage.getItem(name) || "";
      field.addEventListener("input", () => sessionStorage.setItem(name, field.value));
      field.form.addEventListener("submit", () => sessionStorage.removeItem(name));
    } catch { /* no storage: no drafts */ }
  }

  // ---- undo: offered as long as it works ----
  const given = find("[data-undo-seconds]");
  if (given) {
    history.replaceState(null, "", location.pathname);
    setTimeout(() => { const form = find("form", given); if (form) form.hidden = true; }, given.dataset.undoSeconds * 1000);
  }

  // ---- live: the queue follows the collector, and never moves under a pointer or a focus ----
  const live = find("[data-live]");
  if (!live || !window.EventSource) return;
  const box = find(".sk-live");
  const state = find("[data-live-state]");
  const news = find("[data-live-news]");
  const words = find("[data-live-words]").dataset;
  const title = document.title;
  let pointed = false;
  let waiting = false;
  let last = 0;
  let soon = 0;

  const mark = () => Number(find("[data-mark]", live).dataset.mark);
  const tell = (text, off) => { if (state.textContent !== text) state.textContent = text; box.classList.toggle("sk-live--off", off); };
  const busy = () => pointed || live.contains(document.activeElement);

  function refresh() {
    waiting = false;
    news.hidden = true;
    last = Date.now();
    htmx.trigger(live, "sk-changed");
  }
  // The first change at once, a storm of them every two seconds: each look is a read that is logged.
  function changed() {
    if (busy()) { waiting = true; news.hidden = false; return; }
    clearTimeout(soon);
    soon = setTimeout(() => { if (busy()) changed(); else refresh(); }, Math.max(0, last + 2000 - Date.now()));
  }
  function count() {
    const number = Number(find("[data-now]", live).dataset.now);
    document.title = number ? `(${number}) ${title}` : title;
  }
  // A second of grace: a pointer on its way from the list to the button finds the button still there.
  const later = () => setTimeout(() => { if (waiting && !busy()) refresh(); }, 1000);
  for (const place of [live, box]) {
    place.addEventListener("pointerenter", () => { pointed = true; });
    place.addEventListener("pointerleave", () => { pointed = false; later(); });
  }
  live.addEventListener("focusout", later);
  live.addEventListener("htmx:after:swap", count);
  find("[data-live-show]").addEventListener("click", refresh);
  count();

  const source = new EventSource("/live");
  source.addEventListener("open", () => tell(words.on, false));
  source.addEventListener("error", () => tell(words.off, true));
  source.addEventListener("changed", (event) => { if (Number(event.data) !== mark()) changed(); });
  source.addEventListener("signed-out", () => { source.close(); tell(words.out, true); });
})();
