// The Data tab: hand a file in, look at it before it is added, walk through one data set.
//
// What is looked at lies in the address of a live place: data-query of [data-ladder-live] says which
// set, version and page are shown, and a click changes it. What is to be done is gathered from the
// named controls around a button with data-gather, as JSON in its data-value.
(() => {
  const ladder = window.ladder;
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  const WAIT_MS = 300;

  // ---- the right half: one data set ------------------------------------------------------------

  const one = () => $("#data-one [data-ladder-live]");

  function turn(changes) {
    const place = one();
    if (!place) return;
    const now = place.dataset.query ? JSON.parse(place.dataset.query) : {};
    place.dataset.query = JSON.stringify({ ...now, ...changes });
    delete place.dataset.version;
    ladder.refresh(place);
  }

  // Show the head of the data set: its column scrolls by itself, and is below the list on a phone.
  function bring() {
    const place = $("#data-one");
    place?.closest(".l-follow")?.scrollTo({ top: 0 });
    if (place && window.innerWidth < 900) place.scrollIntoView({ behavior: "smooth" });
  }

  function choose({ set = "", version = "", show: page = "rows" }) {
    if (!set) return;
    clearTimeout(waiting.one); // what was typed is about the set before this one
    wanted = true;
    turn({ name: set, version, page, offset: "0", find: "", from: "0", code: "", stamp: "" });
    bring();
  }

  let wanted = false; // chosen, and not yet here: what comes may be longer than the screen
  document.addEventListener("ladder:shown", ({ target }) => {
    if (!wanted || !target.closest("#data-one")) return;
    wanted = false;
    bring();
  });

  const waiting = {};
  const later = (half, act) => {
    clearTimeout(waiting[half]);
    waiting[half] = setTimeout(act, WAIT_MS);
  };

  function refresh() {
    // The stamp asks for a fresh answer: others are shared between viewers for a moment.
    for (const place of $$("#data-list [data-ladder-live], #data-one [data-ladder-live]")) {
      const now = place.dataset.query ? JSON.parse(place.dataset.query) : {};
      place.dataset.query = JSON.stringify({ ...now, stamp: String(Date.now()) });
      ladder.refresh(place);
    }
  }

  // ---- the left half: a file, looked at before it is added --------------------------------------

  let source = null; // {upload: id} or {path: …}, and the name it was given
  let going = null; // the upload under way
  let looking = null;

  const part = (name) => $(`#data-add [data-part="${name}"]`);

  function tell(text, tone = "") {
    const place = part("told");
    if (!place) return;
    place.hidden = !text;
    place.textContent = text;
    place.className = `l-note ${tone ? `l-tone-${tone}` : ""}`;
  }

  function upload(file) {
    close();
    const place = part("progress");
    const bar = $("i", place);
    const said = $("span", place);
    place.hidden = false;
    bar.style.width = "0";
    said.textContent = file.name;
    const request = new XMLHttpRequest();
    going = request;
    request.upload.onprogress = ({ loaded, total }) => {
      const share = total ? Math.floor((loaded / total) * 100) : 0;
      bar.style.width = `${share}%`;
      said.textContent = `${file.name} · ${share} %`;
    };
    request.onloadend = () => {
      if (going === request) going = null;
      place.hidden = true;
      const answer = parsed(request.responseText);
      if (request.status === 200 && answer.id) look({ upload: answer.id });
      else if (request.status) tell([answer.error, answer.hint].filter(Boolean).join(" ") || `${request.status}`, "bad");
      else if (!request.stopped) tell(ladder.say("data.add.cut_off"), "bad");
    };
    const address = new URL("ladder/data/upload", document.baseURI);
    address.searchParams.set("name", file.name);
    request.open("POST", address);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.send(file);
  }

  const parsed = (text) => {
    try { return JSON.parse(text); } catch { return {}; }
  };

  async function look(from, mapping = null) {
    source = from;
    looking?.abort();
    looking = new AbortController();
    const place = part("look");
    tell("");
    if (!mapping) place.innerHTML = '<div class="l-skeleton"></div>';
    place.classList.add("l-planning");
    const address = new URL("ladder/data/look", document.baseURI);
    for (const [key, value] of Object.entries(from)) address.searchParams.set(key, value);
    if (mapping) address.searchParams.set("mapping", JSON.stringify(mapping));
    try {
      const response = await fetch(address, { headers: { accept: "application/json" }, signal: looking.signal });
      const answer = await response.json();
      if (response.ok) {
        ladder.morph(place, answer.html);
        const far = place.getBoundingClientRect().top > window.innerHeight * 0.6;
        if (far && !mapping) $("#data-add").scrollIntoView({ behavior: "smooth", block: "end" });
      } else {
        place.replaceChildren();
        tell([answer.error, answer.hint].filter(Boolean).join(" "), "bad");
      }
    } catch (error) {
      if (error.name === "AbortError") return;
      place.replaceChildren();
      tell(ladder.say("data.add.cut_off"), "bad");
    }
    place.classList.remove("l-planning");
  }

  function mapping() {
    const chosen = {};
    for (const control of $$("[data-map]", part("look"))) {
      if (control.value) chosen[control.dataset.map] = control.value;
    }
    return chosen;
  }

  function close() {
    looking?.abort();
    if (going) {
      going.stopped = true;
      going.abort();
      going = null;
    }
    source = null;
    part("look")?.replaceChildren();
    tell("");
  }

  // ---- what is gathered for an act ---------------------------------------------------------------

  let last = "";

  function gather(within) {
    const said = {};
    for (const control of $$("[name]", within)) {
      const { name, type, value } = control;
      if (control.disabled || control.closest("[hidden]")) continue;
      if (type === "checkbox" && control.value !== "on") {
        said[name] ??= [];
        if (control.checked) said[name].push(value);
      } else if (type === "checkbox") said[name] = control.checked;
      else if (type === "number" || type === "range") said[name] = value === "" ? null : Number(value);
      else said[name] = value;
    }
    return said;
  }

  document.addEventListener("click", (event) => {
    const hit = (selector) => event.target.closest?.(selector);
    const button = hit("[data-gather]");
    if (!button) return;
    const form = button.closest("[data-gathered]");
    const control = $$("[name]", form).find((one) => !one.checkValidity?.());
    if (control) {
      event.preventDefault();
      event.stopPropagation();
      control.reportValidity();
      return;
    }
    const said = gather(form);
    if (button.dataset.act === "add") Object.assign(said, source ?? {}, { mapping: mapping() });
    last = button.dataset.act;
    button.dataset.value = JSON.stringify(said);
  }, true);

  // ---- clicks and typing -------------------------------------------------------------------------

  document.addEventListener("click", (event) => {
    const hit = (selector) => event.target.closest?.(selector);
    const go = hit("[data-one-set]");
    if (go) {
      event.preventDefault();
      turn(JSON.parse(go.dataset.oneSet));
      if (go.dataset.oneTop !== undefined) $("#data-one")?.scrollIntoView({ block: "start" });
      return;
    }
    if (hit("[data-drop-pick]")) return void $("#data-add [data-drop] input[type=file]").click();
    if (hit("[data-look]")) {
      const path = $("#data-add [data-path]").value.trim();
      if (path) { close(); look({ path }); }
      return;
    }
    if (hit("[data-look-close]")) return void close();
    if (hit("[data-upload-stop]")) return void close();
    const all = hit("[data-check-all]");
    if (all) {
      const boxes = $$("input[type=checkbox]", all.closest("[data-gathered]"));
      const on = boxes.some((box) => !box.checked);
      for (const box of boxes) box.checked = on;
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches?.("#data-add [data-path]")) {
      event.preventDefault();
      $("#data-add [data-look]").click();
    }
  });

  document.addEventListener("input", ({ target }) => {
    if (target.matches?.("[data-one-find]")) {
      later("one", () => turn({ find: target.value.trim(), offset: "0", from: "0" }));
    } else if (target.matches?.("[data-list-find]")) {
      later("list", () => {
        const place = $("#data-list [data-ladder-live]");
        place.dataset.query = JSON.stringify({ find: target.value.trim() });
        delete place.dataset.version;
        ladder.refresh(place);
      });
    }
  });

  document.addEventListener("change", ({ target }) => {
    if (target.matches?.("[data-map]") && source) look(source, mapping());
    else if (target.matches?.("[data-one-version]")) turn({ version: target.value, offset: "0", from: "0" });
    else if (target.matches?.("#data-add [data-drop] input[type=file]")) {
      if (target.files.length) upload(target.files[0]);
      target.value = "";
    } else if (target.matches?.("[data-shows]")) {
      for (const item of $$("[data-shown-by]", target.closest("[data-gathered]"))) {
        item.hidden = !item.dataset.shownBy.split(" ").includes(target.value);
      }
    }
  });

  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      const drop = event.target.closest?.("#data-add [data-drop]");
      if (!drop) return;
      event.preventDefault();
      drop.classList.toggle("l-over-drop", kind === "dragenter" || kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) upload(event.dataTransfer.files[0]);
    });
  }

  // ---- what Python calls when an act succeeded ---------------------------------------------------

  ladder.data = {
    done: () => {
      if (last === "add") close();
      if (last === "take") for (const box of $$("#data-chats input[type=checkbox]")) box.checked = false;
      if (["add", "take", "apply"].includes(last)) bring();
      last = "";
      refresh();
    },
  };
  ladder.on("data", (query) => {
    // The tab is built when first seen: wait for its right half.
    const begin = (tries) => (one() ? choose(query) : tries && setTimeout(() => begin(tries - 1), 100));
    begin(100);
  });
})();
