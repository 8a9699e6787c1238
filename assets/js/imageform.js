// What the form of the edit desk says: prompt, settings, styles; and how long that will take.
//
//   ladder.imageForm.collect()      the settings as the server takes them
//   ladder.imageForm.fill(form)     the other way round
//   ladder.imageForm.learn(worker)  what the worker draws with when a field is empty, and its styles
(() => {
  const { ladder } = window;
  const $ = (selector, within = document) => within?.querySelector(selector);
  const $$ = (selector, within = document) => [...(within?.querySelectorAll(selector) ?? [])];
  const WAIT_MS = 250;
  const settings = { seed: "random", n: "1", loras: {} };
  let worker = {};

  const esc = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

  const field = (name) => $(`[data-image-value="${name}"]`);
  const number = (text) => (String(text).trim() === "" ? null : Number(text));

  function collect() {
    const size = field("size")?.value ?? "auto";
    const own = `${$("[data-image-width]")?.value}x${$("[data-image-height]")?.value}`;
    return {
      prompt: field("prompt")?.value ?? "",
      negative_prompt: field("negative_prompt")?.value ?? "",
      num_inference_steps: number(field("num_inference_steps")?.value ?? ""),
      true_cfg_scale: number(field("true_cfg_scale")?.value ?? ""),
      size: size === "own" ? own : size,
      seed: settings.seed === "kept" ? number($("[data-image-seed]")?.value ?? "") : null,
      n: Number(settings.n),
      loras: settings.loras,
    };
  }

  function fill(form) {
    for (const name of ["prompt", "negative_prompt", "num_inference_steps", "true_cfg_scale"]) {
      if (field(name) && form[name] !== undefined) field(name).value = form[name] ?? "";
    }
    const size = form.size || "auto";
    const choice = field("size");
    if (choice) {
      const known = [...choice.options].some((option) => option.value === size);
      choice.value = known ? size : "own";
      if (!known) [$("[data-image-width]").value, $("[data-image-height]").value] = size.split("x");
    }
    pick("seed", form.seed === null || form.seed === undefined ? "random" : "kept", form.seed);
    pick("n", String(form.n ?? 1));
    settings.loras = { ...(form.loras ?? {}) };
    drawLoras(true);
    grow();
    changed();
  }

  function pick(name, value, seed) {
    const all = $$(`[data-image-pick="${name}"]`);
    if (!all.some((one) => one.dataset.value === value)) value = all[0]?.dataset.value ?? value;
    settings[name] = value;
    for (const one of all) one.setAttribute("aria-pressed", String(one.dataset.value === value));
    if (name !== "seed") return;
    const box = $("[data-image-seed]");
    if (!box) return;
    box.hidden = value !== "kept";
    if (seed !== undefined && seed !== null) box.value = seed;
    else if (value === "kept" && !box.value) box.value = $("#image-desk [data-image-seed-used]")?.dataset.imageSeedUsed || Math.floor(Math.random() * 2 ** 31);
  }

  function drawLoras(anew = false) {
    const place = $("[data-image-loras]");
    if (!place) return;
    const names = worker.loras ?? [];
    place.hidden = !names.length;
    const key = names.join("\n");
    if (place.dataset.drawn === key && !anew) return;
    place.dataset.drawn = key;
    const row = (name) => {
      const on = name in settings.loras;
      const weight = settings.loras[name] ?? 1;
      return `<label><input type="checkbox" data-image-lora="${esc(name)}"${on ? " checked" : ""}><span>${esc(name)}</span><input type="range" min="0" max="1.5" step="0.05" value="${weight}" data-image-lora-weight="${esc(name)}" aria-label="${esc(ladder.say("image.more.lora_weight", { name }))}"${on ? "" : " disabled"}><output>${weight}</output></label>`;
    };
    place.lastElementChild.innerHTML = names.map(row).join("");
  }

  let waiting = 0;
  function changed() {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const form = collect();
      const place = $('[data-ladder-live="image/worker"]');
      if (place) {
        const { num_inference_steps: steps, true_cfg_scale: cfg, n, size } = form;
        const query = JSON.stringify({ steps: steps ?? "", cfg: cfg ?? "", n, size, pictures: ladder.imagePictures.all.length || 1 });
        if (place.dataset.query !== query) {
          place.dataset.query = query;
          ladder.refresh(place);
        }
      }
      const own = $("[data-image-own]");
      if (own) own.hidden = field("size").value !== "own";
      said(form);
      ladder.image.keep();
    }, WAIT_MS);
    ladder.image.button();
  }

  // What the folded settings say, so that nobody has to open them to know.
  function said(form) {
    const place = $("[data-image-more-said]");
    if (!place) return;
    
    const parts = [
      ladder.say("image.more.said_steps", { n: form.num_inference_steps ?? worker.steps ?? 40 }),
      ladder.say("image.more.said_cfg", { n: form.true_cfg_scale ?? worker.cfg ?? 4 }),
      form.seed === null ? ladder.say("image.more.said_random") : ladder.say("image.more.said_seed", { seed: form.seed }),
    ];
    if (form.size !== "auto") parts.push(form.size.replace("x", " × "));
    if (form.n > 1) parts.push(ladder.say("image.more.said_n", { n: form.n }));
    parts.push(...Object.keys(form.loras));
    place.textContent = parts.join(" · ");
  }

  function grow() {
    const box = field("prompt");
    if (!box) return;
    box.style.height = "auto";
    if (box.scrollHeight) box.style.height = `${Math.min(box.scrollHeight + 2, 280)}px`;
  }

  function learn(told) {
    if (JSON.stringify(told) === JSON.stringify(worker)) return;
    worker = told;
    field("num_inference_steps").placeholder = told.steps;
    field("true_cfg_scale").placeholder = told.cfg;
    $("#image-size option[value=auto]").textContent = ladder.say("image.more.size_auto", { mp: told.megapixels });
    drawLoras();
    said(collect());
  }

  // Tells what is out of bounds in the browser's own words; true when something is.
  function wrong() {
    const one = $$("[data-image-desk] input[type=number]").find((box) => box.offsetParent && !box.checkValidity());
    one?.reportValidity();
    return Boolean(one);
  }

  document.addEventListener("click", ({ target }) => {
    const chosen = target.closest?.("[data-image-pick]");
    if (chosen) {
      pick(chosen.dataset.imagePick, chosen.dataset.value);
      changed();
    }
    const swap = target.closest?.("[data-image-swap]");
    if (swap) {
      const shown = $("[data-image-examples]:not([hidden])");
      const other = $$("[data-image-examples]").find((list) => list !== shown);
      shown.hidden = true;
      other.hidden = false;
      swap.textContent = ladder.say(`image.examples_${shown.dataset.imageExamples}`);
      swap.lang = shown.dataset.imageExamples;
    }
  });

  document.addEventListener("input", ({ target }) => {
    if (!target.closest?.("[data-image-desk]") || target.matches("[data-image-cut]")) return;
    if (target.matches("[data-image-lora-weight]")) {
      settings.loras[target.dataset.imageLoraWeight] = Number(target.value);
      target.nextElementSibling.textContent = target.value;
    }
    if (target === field("prompt")) grow();
    changed();
  });

  document.addEventListener("change", ({ target }) => {
    if (!target.matches?.("[data-image-lora]")) return;
    const name = target.dataset.imageLora;
    const weight = target.parentElement.querySelector("[data-image-lora-weight]");
    weight.disabled = !target.checked;
    if (target.checked) settings.loras[name] = Number(weight.value);
    else delete settings.loras[name];
    changed();
  });

  ladder.imageForm = { field, collect, fill, changed, grow, learn, wrong };
})();
