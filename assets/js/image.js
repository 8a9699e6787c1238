// The edit desk of the Image edit tab: asking for an edit, which one is shown, batches. The pictures
// are in imagepictures.js, the form in imageform.js, the mask in imagemask.js, before and after in
// imageslider.js, pasting and dragging in imagedrop.js; what it looks like in studio/ui/image/desk.py.
//
//   ladder.image.heard(said)     what Python calls with its answer to a button
(() => {
  const { ladder } = window;
  const $ = (selector, within = document) => within?.querySelector(selector);
  const $$ = (selector, within = document) => [...(within?.querySelectorAll(selector) ?? [])];
  const KEPT = "ladder_image";
  const NARROW = 900;

  const desk = () => $("[data-image-desk]");
  const state = { shown: "", ready: false, asked: null };
  const form = () => ladder.imageForm; // scripts are joined by name: those three come after this one
  const pictures = () => ladder.imagePictures;
  const mask = () => ladder.imageMask;

  // ---- kept over a reload, in this tab of the browser only ------------------------------------

  function keep() {
    const known = pictures().all.filter((p) => p.id).map(({ id, name, width, height }) => ({ id, name, width, height }));
    sessionStorage.setItem(KEPT, JSON.stringify({ pictures: known, marks: mask().marks, shown: state.shown, form: form().collect() }));
  }

  function restore() {
    let kept;
    try { kept = JSON.parse(sessionStorage.getItem(KEPT)); } catch { kept = null; }
    if (!kept) return;
    pictures().restore(kept.pictures ?? []);
    mask().marks.push(...(kept.marks ?? []));
    form().fill(kept.form ?? {});
    if (kept.shown) show(kept.shown);
  }

  // ---- telling --------------------------------------------------------------------------------

  function tell(text, place = $("[data-image-told]")) {
    if (!place) return;
    place.hidden = !text;
    place.textContent = text;
  }

  const parsed = (text) => {
    try { return JSON.parse(text); } catch { return {}; }
  };

  function button() {
    const go = $("[data-image-edit]");
    if (!go) return;
    const prompt = form().field("prompt")?.value.trim();
    go.disabled = Boolean(state.asked) || !state.ready || !pictures().all.length || !prompt;
    go.classList.toggle("l-busy-wait", Boolean(state.asked));
    const why = !state.ready ? "image.why.worker" : !pictures().all.length ? "image.why.picture" : !prompt ? "image.why.prompt" : "";
    go.title = why ? ladder.say(why) : "Ctrl + Enter";
  }

  // ---- asking ---------------------------------------------------------------------------------

  // Raises an act as if a button of that name had been pressed on the desk.
  function act(name, value) {
    const pressed = Object.assign(document.createElement("button"), { type: "button", hidden: true });
    Object.assign(pressed.dataset, { act: name, value });
    $("#image-desk [data-image-desk]").append(pressed);
    pressed.click();
    pressed.remove();
  }

  async function edit() {
    if (state.asked || !state.ready) return;
    const asked = form().collect();
    if (!pictures().all.length) return tell(ladder.say("image.why.picture"));
    if (!asked.prompt.trim()) return void form().field("prompt").focus();
    if (form().wrong()) return;
    tell("");
    const ask = String(Date.now());
    state.asked = ask;
    button();
    starting(asked.prompt);
    try {
      const sent = await Promise.all(pictures().all.map((picture) => picture.id ? picture : picture.done));
      if (sent.some((picture) => !picture?.id)) return failed("");
      let marks = null;
      if (mask().marked()) {
        const file = await mask().file();
        marks = (await pictures().send({ key: 0, name: file.name }, file))?.id;
        if (!marks) return failed("");
      }
      const ids = sent.map(({ id }) => id);
      act("edit", JSON.stringify({ ask, pictures: ids, mask: marks, name: sent[0].name, settings: asked }));
    } catch (error) {
      failed(String(error));
    }
  }

  // Shown at once, before anybody has answered.
  function starting(prompt) {
    const place = answer();
    if (!place) return;
    const image = $("[data-image-first]");
    const shape = `--w:${image?.naturalWidth || 1};--h:${image?.naturalHeight || 1}`;
    place.dataset.query = "";
    place.dataset.version = "";
    ladder.morph(place, `<div class="l-img-job" data-image-state="sending"><header class="l-img-head"><span class="l-badge l-starting l-spin">${pictures().icon("spinner")}${pictures().esc(ladder.say("image.sending"))}</span><span>${pictures().esc(prompt)}</span></header><div class="l-img-view l-img-dim" style="${shape}"><img src="${pictures().esc(pictures().all[0]?.url ?? "")}" alt=""></div></div>`);
    place.classList.add("l-filled");
    if (window.innerWidth < NARROW) bring();
  }

  function failed(text) {
    state.asked = null;
    button();
    if (text) tell(text);
    show(state.shown);
  }

  // Shows the head of the result: a column of its own that stays in sight, below the form on a phone.
  function bring() {
    const place = window.innerWidth < NARROW ? $("[data-image-answer]") : desk();
    const { top } = place.getBoundingClientRect();
    if (top < 0 || top > window.innerHeight / 3) place.scrollIntoView({ behavior: "smooth", block: "start" });
  }

  const answer = () => $('[data-image-answer] [data-ladder-live="image/now"]');

  // Shows an edit; an empty id shows what is under way, or how to begin.
  function show(id, variant = 0) {
    state.shown = id;
    const place = answer();
    if (!place) return;
    place.dataset.query = JSON.stringify(id ? { id, variant: String(variant) } : {});
    delete place.dataset.version;
    ladder.refresh(place);
    for (const cell of $$("[data-image-cell]")) cell.toggleAttribute("data-on", cell.dataset.imageCell === id);
    keep();
  }

  function again(path) {
    for (const place of $$(`[data-ladder-live="${path}"]`)) ladder.refresh(place);
  }

  let wanted = false; // opened from the gallery, and not yet here
  let heardLast = "";
  function heard(text) {
    if (text === heardLast) return void (state.asked && failed("")); // the handler failed: its toast says why
    heardLast = text;
    const told = parsed(text);
    if (told.act === "edit" && told.ask !== state.asked) return;
    if (told.act === "edit") state.asked = null;
    button();
    if (told.error) {
      const why = [told.error, told.hint].filter(Boolean).join(" ");
      if (told.act === "edit") show(state.shown);
      if (["edit", "again", "another"].includes(told.act)) return tell(why), void $("[data-image-told]").scrollIntoView({ behavior: "smooth", block: "center" });
      return tell(why, told.act.startsWith("batch") ? $("[data-image-many-said]") : undefined);
    }
    tell("");
    if (["edit", "again", "another", "cancel"].includes(told.act)) show(told.id);
    if (told.act === "delete" && told.id === state.shown) show("");
    if (told.act === "batch") {
      many.length = 0;
      $("[data-image-many-said]").textContent = "";
    }
    if (told.act.startsWith("batch")) again("image/batches");
    if (["start", "connect"].includes(told.act)) again("image/now");
    again("image/gallery");
    again("image/worker");
  }

  // ---- live places ----------------------------------------------------------------------------

  ladder.views.imageWorker = (element, data) => {
    ladder.views.html(element, data);
    state.ready = data.ready;
    form().learn({ steps: data.steps, cfg: data.cfg, loras: data.loras });
    button();
  };

  document.addEventListener("ladder:shown", ({ target }) => {
    if (target === answer()) {
      if (wanted) bring();
      wanted = false;
      const job = $("[data-image-item]", target);
      if (job) {
        state.shown = job.dataset.imageItem;
        const ended = ["done", "failed", "cancelled"].includes(job.dataset.imageState);
        if (ended && target.dataset.ended !== state.shown) again("image/gallery");
        target.dataset.ended = ended ? state.shown : "";
        if (!ended && !target.dataset.query) target.dataset.query = JSON.stringify({ id: state.shown, variant: "0" });
      }
      for (const cell of $$("[data-image-cell]")) cell.toggleAttribute("data-on", cell.dataset.imageCell === state.shown);
    }
    if (target.dataset.ladderLive === "image/desk") begun();
    if (target.dataset.ladderLive === "image/gallery") {
      for (const cell of $$("[data-image-cell]", target)) cell.toggleAttribute("data-on", cell.dataset.imageCell === state.shown);
      const end = $("[data-image-more-items]", target);
      if (end) endless.observe(end);
    }
  });

  // Older edits come when the end of the gallery is near.
  const endless = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      endless.unobserve(target);
      const gallery = target.closest("[data-ladder-live]");
      const limit = Number(JSON.parse(gallery.dataset.query).limit) + 24;
      gallery.dataset.query = JSON.stringify({ limit: String(limit) });
      ladder.refresh(gallery);
    }
  }, { rootMargin: "600px" });

  // ---- batch ----------------------------------------------------------------------------------

  const many = [];

  async function gather(files) {
    const place = $("[data-image-many-said]");
    let count = 0;
    for (const file of files) {
      place.textContent = ladder.say("image.batch.sending", { k: ++count, n: files.length });
      const sent = await pictures().send({ key: 0, name: file.name }, file);
      if (sent?.id) many.push([sent.id, file.name]);
    }
    place.textContent = ladder.say("image.batch.chosen", { n: many.length });
  }

  function batch() {
    const asked = form().collect();
    const place = $("[data-image-many-said]");
    if (!asked.prompt.trim()) {
      place.textContent = ladder.say("image.why.prompt");
      form().field("prompt").focus();
      return;
    }
    act("batch", JSON.stringify({ folder: $("[data-image-folder]").value, uploads: many, settings: asked }));
  }

  // ---- clicks, keys, files ---------------------------------------------------------------------

  let reused = "";
  async function reuse(id) {
    reused = id;
    const answer = await ladder.get(`image/item/${id}`);
    if (id !== reused) return; // another one was wanted meanwhile
    form().fill(answer.settings);
    if (!pictures().all.length) for (const [n, path] of answer.pictures.entries()) await pictures().take(path, `picture-${n + 1}.png`);
    form().field("prompt").focus({ preventScroll: true });
    desk().scrollIntoView({ behavior: "smooth", block: "start" });
  }

  const clicks = {
    "data-image-choose": () => $("[data-image-file]").click(),
    "data-image-sample": (one) => pictures().take(`ladder/image/sample/${one.dataset.imageSample}`, `${one.dataset.imageSample}.png`),
    "data-image-slot-left": (one) => pictures().move(Number(one.dataset.imageSlotLeft), Number(one.dataset.imageSlotLeft) - 1),
    "data-image-slot-right": (one) => pictures().move(Number(one.dataset.imageSlotRight), Number(one.dataset.imageSlotRight) + 1),
    "data-image-slot-remove": (one) => pictures().drop(pictures().all[Number(one.dataset.imageSlotRemove)]),
    "data-image-example": async (one) => {
      form().field("prompt").value = one.dataset.imageExample;
      form().grow();
      form().changed();
      if (pictures().all.length) return;
      for (const name of one.dataset.samples.split(" ")) await pictures().take(`ladder/image/sample/${name}`, `${name}.png`);
    },
    "data-image-edit": () => edit(),
    "data-image-again-use": (one) => {
      form().fill(one.closest("[data-image-again]").made);
      one.closest("[data-image-again]").hidden = true;
    },
    "data-image-open": (one) => {
      wanted = true; // it rests while out of sight, and what comes may be longer: bring it twice
      show(one.dataset.imageOpen);
      bring();
    },
    "data-image-variant": (one) => show(state.shown, Number(one.dataset.imageVariant)),
    "data-image-use": (one) => {
      pictures().all.length = 0;
      mask().clear();
      pictures().take(one.dataset.imageUse, "result.png");
      desk().scrollIntoView({ behavior: "smooth", block: "start" });
    },
    "data-image-reuse": (one) => reuse(one.dataset.imageReuse),
    "data-image-more-of": (one) => act("another", one.dataset.imageMoreOf),
    "data-image-up": () => $("#image-worker")?.scrollIntoView({ behavior: "smooth", block: "start" }),
    "data-image-connect": () => {
      const address = $("[data-image-address]");
      if (address.value.trim() && address.reportValidity()) act("connect", address.value.trim());
    },
    "data-image-many": () => $("[data-image-many-file]").click(),
    "data-image-batch-start": () => batch(),
  };

  document.addEventListener("click", (event) => {
    const within = event.target.closest?.("#image-desk");
    if (!within) return;
    for (const [name, act] of Object.entries(clicks)) {
      const one = event.target.closest(`[${name}]`);
      if (one && !one.disabled) return void act(one);
    }
  });

  document.addEventListener("change", ({ target }) => {
    if (target.matches?.("[data-image-file]")) pictures().add(target.files);
    else if (target.matches?.("[data-image-many-file]")) gather([...target.files]);
    else return;
    target.value = "";
  });

  document.addEventListener("keydown", (event) => {
    const go = event.key === "Enter" && (event.ctrlKey || event.metaKey);
    if (go && event.target === form().field("prompt")) edit();
  });

  // ---- begin ----------------------------------------------------------------------------------

  let once = false;
  function begun() {
    if (!once) {
      once = true;
      restore();
    }
    pictures().draw();
    form().changed();
  }

  ladder.image = { heard, show, keep, button, desk, tell, parsed };
})();
