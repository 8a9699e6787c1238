// The Studies view: a gallery of questions, then one study: its form, and what came of it.
//
//   <div id="study-view">                      l-study-is-open while one is
//     <button data-study-open="studies/x">     a card of the gallery
//     <button data-study-back>                 to the gallery
//     <button data-study-show="folder">        one of the study's results
//     <… data-study-part data-ladder-live=…>   shows what is chosen; asks with {study, name}
//
// What is open stands in the address: ?tab=bench&view=studies&study=studies/x&name=folder
(() => {
  const { ladder } = window;
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  let open = { study: "", name: "" };
  let asked = ""; // the study that the form was told to show

  const work = () => $("#study-work [data-work]");

  // the recipe in the form is the study that is open; what was typed for it stays
  function fill() {
    const form = work();
    if (!form || !open.study || !form.dataset.engine) return; // ladder:formed comes back here
    if (form.dataset.recipe === open.study) return void (asked = "");
    if (asked === open.study && form.getAttribute("aria-busy") === "true") return; // on its way
    asked = open.study;
    const detail = { engine: "study", settings: {}, recipe: open.study };
    form.dispatchEvent(new CustomEvent("ladder:fill", { detail }));
  }

  function draw() {
    const view = $("#study-view");
    if (!view) return;
    view.classList.toggle("l-study-is-open", Boolean(open.study));
    const asked = JSON.stringify(open);
    for (const part of $$("[data-study-part] > [data-ladder-live]", view)) {
      if (part.dataset.first === asked) continue;
      part.dataset.query = asked;
      part.dataset.first = asked; // begins anew
    }
    fill();
  }

  // The study's results are followed again: one of them was started, stopped or taken away.
  function again() {
    for (const part of $$("#study-view [data-ladder-live]")) ladder.refresh(part);
  }

  function go(study, name = "") {
    ladder.open("bench", study ? { view: "studies", study, ...(name && { name }) } : { view: "studies" });
  }

  ladder.study = {
    heard(text) {
      const said = JSON.parse(text || "{}");
      if (said.study !== undefined) go(said.study, said.name);
      again();
    },
  };

  ladder.on("bench", ({ view, study = "", name = "" }) => {
    if (view && view !== "studies") return;
    // A link may name the results alone: their folder is called after the study.
    open = { study: study || (name && `studies/${name.replace(/_\d{8}-\d{6}$/, "")}`), name };
    draw();
  });

  document.addEventListener("click", ({ target }) => {
    const hit = (selector) => target.closest?.(selector);
    const card = hit("[data-study-open]");
    if (card) go(card.dataset.studyOpen);
    else if (hit("[data-study-back]")) go("");
    const result = hit("[data-study-show]");
    if (result) go(open.study || result.dataset.study, result.dataset.studyShow);
    const cases = hit("[data-case]");
    if (cases) toggle(cases);
    if (hit("[data-pair-more]")) more(hit("[data-pairs]"));
    const gone = hit("[data-pair-gone]");
    if (gone) {
      const pairs = gone.closest("[data-pairs]");
      gone.closest(".l-pair-row").remove();
      collect(pairs);
    }
  });

  document.addEventListener("ladder:shown", ({ target }) => {
    if (!target.closest?.("#study-view")) return;
    // what results are results of is not always what their folder is called after
    const told = $("[data-study-is]", target);
    if (told && told.dataset.name === open.name) open = { ...open, study: told.dataset.studyIs };
    draw();
  });
  document.addEventListener("ladder:formed", ({ target }) => {
    if (!target.closest?.("#study-view")) return;
    for (const field of $$(".l-field", target)) {
      if ($("[data-case]", field)) press(field);
      if ($("[data-pairs]", field)) spread($("[data-pairs]", field));
    }
    fill();
  });

  // ---- which cases: names in a field that is not seen, put in and taken out by buttons ---------

  const names = (input) => input.value.split(",").filter(Boolean);

  function press(field) {
    const chosen = names($("input", field));
    for (const chip of $$("[data-case]", field)) {
      chip.setAttribute("aria-pressed", chosen.includes(chip.dataset.case));
    }
  }

  function toggle(chip) {
    const field = chip.closest(".l-field");
    const input = $("input", field);
    const chosen = names(input);
    const name = chip.dataset.case;
    const now = chosen.includes(name) ? chosen.filter((one) => one !== name) : [...chosen, name];
    if (!now.length) return; // a study without a case asks nothing
    const order = $$("[data-case]", field).map((one) => one.dataset.case);
    input.value = order.filter((one) => now.includes(one)).join(",");
    press(field);
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }

  // ---- settings as rows of a name and a value; the field itself is a line for each --------------

  function spread(pairs) {
    for (const row of $$(".l-pair-row", pairs)) row.remove();
    const lines = $("textarea", pairs.closest(".l-field")).value.split("\n").filter(Boolean);
    for (const line of lines) {
      const at = line.indexOf("=");
      more(pairs, line.slice(0, at), line.slice(at + 1));
    }
  }

  function more(pairs, name, value = "") {
    const row = $("template", pairs).content.firstElementChild.cloneNode(true);
    const [key, text] = $$("input", row);
    key.value = name ?? "";
    text.value = value;
    pairs.insertBefore(row, $("[data-pair-more]", pairs));
    if (name === undefined) key.focus();
  }

  function collect(pairs) {
    const lines = $$(".l-pair-row", pairs).map((row) => $$("input", row).map((i) => i.value.trim()));
    const area = $("textarea", pairs.closest(".l-field"));
    area.value = lines.filter(([key]) => key).map(([key, value]) => `${key}=${value}`).join("\n");
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }

  document.addEventListener("input", ({ target }) => {
    const pairs = target.closest?.("[data-pairs]");
    if (pairs) collect(pairs);
  });
})();
