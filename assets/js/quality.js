// The Quality view: comparisons, and the room in which two answers are judged without their names.
//
//   <div id="quality-view">                     l-voting while the room is open
//     <button data-quality-show="folder">       one of the comparisons
//     <button data-room-open="folder">          opens the room
//     <div id="quality-room"> <div data-room>   filled with ladder/quality/pair
//       <button data-key="1" data-act="vote">   pressed by its key as well: 1, 2, 0, u; Escape leaves
//     <… data-quality-part data-ladder-live=…>  shows the comparison that is chosen
//     <button data-quality-eyes>                shows the names before everything is voted on
//     <button data-quality-all>                 the table of one comparison or of all
//     <button data-line-add="id::model">        puts a line into the field above it, or takes it out
//
// What is open stands in the address: ?tab=bench&view=quality&name=folder
(() => {
  const { ladder } = window;
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  const REFUSED_MS = 20_000; // a vote that failed tells nothing here
  let name = "";
  let eyes = false; // names and results are shown although votes are still to come
  let all = false; // the table holds every comparison
  let room = ""; // the comparison that is voted on
  let looks = 0;
  let waits = false; // a vote is on its way
  let waiting = 0;

  const view = () => $("#quality-view");

  function draw() {
    if (!view()) return;
    const asked = JSON.stringify({ name, eyes: eyes ? "1" : "", all: all ? "1" : "" });
    for (const part of $$("[data-quality-part] > [data-ladder-live]", view())) {
      if (part.dataset.first === asked) continue;
      part.dataset.query = asked;
      part.dataset.first = asked; // begins anew
    }
  }

  function again() {
    for (const part of $$("#quality-view [data-quality-part] > [data-ladder-live]")) ladder.refresh(part);
  }

  async function look() {
    const asked = room;
    const turn = looks += 1;
    const answer = await ladder.get("quality/pair", { name: asked });
    if (turn !== looks || asked !== room) return; // left meanwhile, or asked again
    clearTimeout(waiting);
    waits = false;
    const place = $("[data-room]", view());
    place.innerHTML = answer.html;
    if ($(".l-room-text", place)) $(".l-room", place).scrollIntoView({ block: "start" });
  }

  function enter(comparison) {
    room = comparison;
    view().classList.add("l-voting");
    look();
  }

  function leave() {
    room = "";
    view()?.classList.remove("l-voting");
    const place = $("[data-room]", view());
    if (place) place.replaceChildren();
    again();
  }

  ladder.quality = {
    heard(text) {
      const said = JSON.parse(text || "{}");
      if (said.name !== undefined && said.name !== name) {
        ladder.open("bench", { view: "quality", ...(said.name && { name: said.name }) });
      }
      if (room) look();
      else again();
    },
  };

  ladder.on("bench", (query) => {
    if (query.view !== "quality") return;
    if (name !== (query.name ?? "")) eyes = false;
    name = query.name ?? "";
    if (room && room !== name) leave();
    draw();
  });

  document.addEventListener("ladder:shown", ({ target }) => {
    if (target.closest?.("#quality-view")) draw();
  });
  document.addEventListener("ladder:formed", ({ target }) => {
    if (!target.closest?.("#quality-view")) return;
    for (const field of $$(".l-field", target)) if ($("[data-line-add]", field)) press(field);
  });

  document.addEventListener("click", (event) => {
    const hit = (selector) => event.target.closest?.(selector);
    const shown = hit("[data-quality-show]");
    if (shown) ladder.open("bench", { view: "quality", name: shown.dataset.qualityShow });
    const opens = hit("[data-room-open]");
    if (opens) enter(opens.dataset.roomOpen);
    if (hit("[data-room-leave]")) leave();
    if (hit("[data-quality-eyes]")) {
      eyes = !eyes;
      draw();
    }
    if (hit("[data-quality-all]")) {
      all = !all;
      draw();
    }
    if (room && hit('[data-room] [data-act="vote"], [data-room] [data-act="undo"]')) {
      if (waits) event.stopPropagation(); // one vote for a pair
      else {
        waits = true;
        waiting = setTimeout(() => (waits = false), REFUSED_MS);
      }
    }
    const line = hit("[data-line-add]");
    if (line) toggle(line);
  }, true);

  document.addEventListener("keydown", (event) => {
    if (!room || !view()?.checkVisibility?.() || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches?.("input, textarea, select, dialog *")) return;
    if (event.key === "Escape") {
      leave();
      return;
    }
    const button = $(`[data-room] [data-key="${CSS.escape(event.key.toLowerCase())}"]`, view());
    if (!button || waits || event.repeat) return;
    event.preventDefault();
    button.click();
  });

  // ---- lines of a field, put in and taken out by buttons ---------------------------------------

  const lines = (field) => control(field).value.split("\n").map((line) => line.trim()).filter(Boolean);
  const control = (field) => $("textarea, input", field);

  function press(field) {
    const chosen = lines(field);
    for (const chip of $$("[data-line-add]", field)) {
      chip.setAttribute("aria-pressed", chosen.includes(chip.dataset.lineAdd));
    }
  }

  function toggle(chip) {
    const field = chip.closest(".l-field");
    const text = chip.dataset.lineAdd;
    const now = lines(field);
    const several = control(field).tagName === "TEXTAREA";
    const without = several ? now.filter((line) => line !== text) : [];
    control(field).value = (now.includes(text) ? without : [...without, text]).join("\n");
    press(field);
    control(field).dispatchEvent(new Event("input", { bubbles: true }));
  }

  document.addEventListener("input", ({ target }) => {
    const field = target.closest?.("#quality-view .l-field");
    if (field && $("[data-line-add]", field)) press(field);
  });
})();
