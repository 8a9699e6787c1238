// The edit desk of the Image edit tab: pictures on their way, asking for an edit, and which one is
// shown. The form is in imageform.js, the mask in imagemask.js, before and after in imageslider.js,
// pasting and dragging in imagedrop.js; what it looks like in studio/ui/image_desk.py.
//
//   ladder.image.heard(said)     what Python calls with its answer to a button
(() => {
  const { ladder } = window;
  const $ = (selector, within = document) => within?.querySelector(selector);
  const $$ = (selector, within = document) => [...(within?.querySelectorAll(selector) ?? [])];
  const KEPT = "ladder_image";
  const NARROW = 900;

  const desk = () => $("[data-image-desk]");
  const most = () => Number(desk()?.dataset.most ?? 3);
  const url = (path) => new URL(path, document.baseURI);
  const state = { pictures: [], shown: "", ready: false, asked: null };
  let nextKey = 1;
  const form = () => ladder.imageForm; // scripts are joined by name: those two come after this one
  const mask = () => ladder.imageMask;

  // ---- kept over a reload, in this tab of the browser only ------------------------------------

  function keep() {
    const { pictures, shown } = state;
    const known = pictures.filter((p) => p.id).map(({ id, name, width, height }) => ({ id, name, width, height }));
    sessionStorage.setItem(KEPT, JSON.stringify({ pictures: known, marks: mask().marks, shown, form: form().collect() }));
  }

  function restore() {
    let kept;
    try { kept = JSON.parse(sessionStorage.getItem(KEPT)); } catch { kept = null; }
    if (!kept) return;
    for (const p of kept.pictures ?? []) {
      state.pictures.push({ ...p, key: nextKey++, url: `ladder/image/upload/${p.id}`, small: `ladder/image/upload/${p.id}?small=1` });
    }
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

  // ---- pictures -------------------------------------------------------------------------------

  function add(files) {
    tell("");
    const room = most() - state.pictures.length;
    const chosen = [...files].filter((file) => file.type.startsWith("image/") || /\.(png|jpe?g|webp|gif|bmp)$/i.test(file.name));
    if (!chosen.length && files.length) return tell(ladder.say("image.told.no_picture"));
    if (chosen.length > room) tell(ladder.say("image.told.too_many", { most: most() }));
    for (const file of chosen.slice(0, Math.max(0, room))) {
      const picture = { key: nextKey++, name: file.name || "picture.png", url: URL.createObjectURL(file), share: 0 };
      state.pictures.push(picture);
      picture.done = send(picture, file);
    }
    draw();
  }

  // Sends a file as the body of a request; resolves to the picture, or null when it was refused.
  function send(picture, file) {
    const largest = Number(desk()?.dataset.largest ?? Infinity);
    if (file.size > largest) {
      drop(picture);
      tell(`${picture.name}: ${ladder.say("image.told.too_large", { mb: Math.round(largest / 2 ** 20) })}`);
      return Promise.resolve(null);
    }
    return new Promise((resolve) => {
      const request = new XMLHttpRequest();
      const address = url("ladder/image/upload");
      address.searchParams.set("name", picture.name);
      request.upload.onprogress = ({ loaded, total }) => {
        picture.share = total ? loaded / total : 0;
        const bar = $(`[data-image-slot="${picture.key}"] .l-img-sent`);
        if (bar) bar.style.width = `${picture.share * 100}%`;
      };
      request.onloadend = () => {
        const answer = parsed(request.responseText);
        if (request.status === 200 && answer.id) {
          Object.assign(picture, answer, { share: 1 });
          if (answer.made) offer(answer.made);
          draw();
          resolve(picture);
          return;
        }
        drop(picture);
        const said = [answer.error, answer.hint].filter(Boolean).join(" ");
        tell(`${picture.name}: ${said || ladder.say("image.told.cut_off")}`);
        resolve(null);
      };
      request.open("POST", address);
      request.setRequestHeader("content-type", "application/octet-stream");
      request.send(file);
    });
  }

  function drop(picture) {
    const at = state.pictures.indexOf(picture);
    if (at < 0) return;
    if (at === 0) mask().clear();
    state.pictures.splice(at, 1);
    draw();
  }

  function move(from, to) {
    if (to < 0 || to >= state.pictures.length || from === to) return;
    const [picture] = state.pictures.splice(from, 1);
    state.pictures.splice(to, 0, picture);
    if (from === 0 || to === 0) mask().clear();
    draw();
  }

  // Takes a picture that lies on the server already (a sample, a result) as if it had been dropped.
  async function take(path, name) {
    if (state.pictures.length >= most()) {
      const last = state.pictures.at(-1);
      drop(last);
    }
    const answer = await fetch(url(path));
    if (!answer.ok) return tell(ladder.say("image.told.cut_off"));
    const blob = await answer.blob();
    add([new File([blob], name, { type: blob.type })]);
  }

  function offer(made) {
    const place = $("[data-image-again]");
    if (!place) return;
    place.hidden = false;
    place.made = made;
    $("[data-image-again-said]", place).textContent = ladder.say("image.again.said", { prompt: made.prompt ?? "" });
  }

  // ---- drawing the pictures -------------------------------------------------------------------

  const icon = (name) => {
    const like = $("#image-desk svg.l-icon use");
    const href = like?.getAttribute("href")?.replace(/#.*/, `#${name}`) ?? "";
    return `<svg class="l-icon" aria-hidden="true"><use href="${href}"/></svg>`;
  };
  const esc = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

  function draw() {
    const place = desk();
    if (!place) return;
    const { pictures } = state;
    const some = pictures.length > 0;
    place.classList.toggle("l-img-some", some);
    $("[data-image-drop]").hidden = some;
    for (const name of ["stage", "tools", "slots"]) $(`[data-image-${name}]`).hidden = !some;
    if (!some) $("[data-image-again]").hidden = true;
    drawSlots();
    const first = $("[data-image-first]");
    const address = pictures[0]?.url ?? "";
    if (some && first.getAttribute("src") !== address) {
      first.onload = () => mask().paint();
      first.src = address;
    } else mask().paint();
    button();
    keep();
  }

  function drawSlots() {
    const { pictures } = state;
    const word = (key, n) => esc(ladder.say(`image.slot.${key}`, { n }));
    const items = pictures.map((picture, at) => {
      const n = at + 1;
      const wait = picture.id ? "" : `<i class="l-img-sent" style="width:${picture.share * 100}%"></i>`;
      const tool = (act, drawing, off) => `<button type="button" data-image-slot-${act}="${at}" title="${word(act, n)}" aria-label="${word(act, n)}"${off ? " disabled" : ""}>${icon(drawing)}</button>`;
      const size = picture.width ? `${picture.width} × ${picture.height}` : "";
      return `<li data-image-slot="${picture.key}" draggable="true" title="${esc(picture.name)}"><img src="${esc(picture.small ?? picture.url)}" alt="${word("name", n)}" draggable="false"><b>${n}</b>${wait}<span>${size}</span><div>${tool("left", "left", at === 0)}${tool("right", "right", at === pictures.length - 1)}${tool("remove", "cross")}</div></li>`;
    });
    const full = pictures.length >= most();
    $("[data-image-add]").hidden = !pictures.length || full;
    $("[data-image-samples]").hidden = full;
    ladder.morph($("[data-image-slots]"), items.join(""));
  }

  function button() {
    const go = $("[data-image-edit]");
    if (!go) return;
    const prompt = form().field("prompt")?.value.trim();
    go.disabled = Boolean(state.asked) || !state.ready || !state.pictures.length || !prompt;
    go.classList.toggle("l-busy-wait", Boolean(state.asked));
    const why = !state.ready ? "image.why.worker" : !state.pictures.length ? "image.why.picture" : !prompt ? "image.why.prompt" : "";
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
    if (!state.pictures.length) return tell(ladder.say("image.why.picture"));
    if (!asked.prompt.trim()) return void form().field("prompt").focus();
    if (form().wrong()) return;
    tell("");
    const ask = String(Date.now());
    state.asked = ask;
    button();
    starting(asked.prompt);
    try {
      const sent = await Promise.all(state.pictures.map((picture) => picture.id ? picture : picture.done));
      if (sent.some((picture) => !picture?.id)) return failed("");
      let marks = null;
      if (mask().marked()) {
        const file = await mask().file();
        marks = (await send({ key: 0, name: file.name }, file))?.id;
        if (!marks) return failed("");
      }
      const pictures = sent.map(({ id }) => id);
      act("edit", JSON.stringify({ ask, pictures, mask: marks, name: sent[0].name, settings: asked }));
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
    ladder.morph(place, `<div class="l-img-job" data-image-state="sending"><header class="l-img-head"><span class="l-badge l-starting l-spin">${icon("spinner")}${esc(ladder.say("image.sending"))}</span><span>${esc(prompt)}</span></header><div class="l-img-view l-img-dim" style="${shape}"><img src="${esc(state.pictures[0]?.url ?? "")}" alt=""></div></div>`);
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
      const sent = await send({ key: 0, name: file.name }, file);
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

  async function reuse(id) {
    const answer = await ladder.get(`image/item/${id}`);
    form().fill(answer.settings);
    if (!state.pictures.length) for (const [n, path] of answer.pictures.entries()) await take(path, `picture-${n + 1}.png`);
    form().field("prompt").focus({ preventScroll: true });
    desk().scrollIntoView({ behavior: "smooth", block: "start" });
  }

  const clicks = {
    "data-image-choose": () => $("[data-image-file]").click(),
    "data-image-sample": (one) => take(`ladder/image/sample/${one.dataset.imageSample}`, `${one.dataset.imageSample}.png`),
    "data-image-slot-left": (one) => move(Number(one.dataset.imageSlotLeft), Number(one.dataset.imageSlotLeft) - 1),
    "data-image-slot-right": (one) => move(Number(one.dataset.imageSlotRight), Number(one.dataset.imageSlotRight) + 1),
    "data-image-slot-remove": (one) => drop(state.pictures[Number(one.dataset.imageSlotRemove)]),
    "data-image-example": async (one) => {
      form().field("prompt").value = one.dataset.imageExample;
      form().grow();
      form().changed();
      if (state.pictures.length) return;
      for (const name of one.dataset.samples.split(" ")) await take(`ladder/image/sample/${name}`, `${name}.png`);
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
      state.pictures.length = 0;
      mask().clear();
      take(one.dataset.imageUse, "result.png");
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
    if (target.matches?.("[data-image-file]")) add(target.files);
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
    draw();
    form().changed();
  }

  ladder.image = {
    heard, show, keep, button, desk, add,
    count: () => state.pictures.length,
    // Moves the picture of one slot to the place of another; both are keys of slots.
    moveTo: (one, other) => {
      const at = (key) => state.pictures.findIndex((picture) => String(picture.key) === key);
      move(at(one), at(other));
    },
  };
})();
