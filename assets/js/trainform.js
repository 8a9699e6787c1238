// What a training's form has besides fields: a LLaMA-Factory YAML that fills it, and names of data sets
// that buttons put in and take out.
(() => {
  const { ladder } = window;
  const { escaped } = ladder.curves;
  const $ = (selector, within) => within.querySelector(selector);
  const $$ = (selector, within) => [...within.querySelectorAll(selector)];

  // ---- a LLaMA-Factory YAML becomes the form --------------------------------------------------

  document.addEventListener("change", async (event) => {
    const chooser = event.target.closest?.("[data-yaml-file]");
    if (!chooser?.files.length) return;
    const box = chooser.closest("[data-yaml]");
    $("textarea", box).value = await chooser.files[0].text();
    chooser.value = "";
    read(box);
  });
  document.addEventListener("click", (event) => {
    const go = event.target.closest?.("[data-yaml-go]");
    if (go) read(go.closest("[data-yaml]"));
  });

  let reads = 0;
  async function read(box) {
    const turn = reads += 1; // of two readings the later one counts
    const told = $("[data-yaml-told]", box);
    const body = $("textarea", box).value;
    if (!body.trim()) return;
    let answer;
    try {
      const place = new URL("ladder/train/yaml", document.baseURI);
      answer = await (await fetch(place, { method: "POST", body, headers: { "content-type": "text/yaml" } })).json();
    } catch {
      answer = { error: ladder.say("shell.offline") };
    }
    if (turn !== reads) return;
    if (answer.error) {
      told.innerHTML = `<p class="l-note l-tone-bad"><span>${escaped(answer.error)} ${escaped(answer.hint ?? "")}</span></p>`;
      return;
    }
    told.innerHTML = answer.html;
    const work = box.closest("[data-work]");
    work.dispatchEvent(new CustomEvent("ladder:fill", { detail: answer.ask }));
  }

  // ---- names in a field, put in and taken out by buttons --------------------------------------

  const names = (input) => input.value.split(",").map((word) => word.trim()).filter(Boolean);
  function press(field) {
    const input = $("input", field);
    for (const chip of $$("[data-toggle-word]", field)) {
      chip.setAttribute("aria-pressed", names(input).includes(chip.dataset.toggleWord));
    }
  }
  document.addEventListener("click", (event) => {
    const chip = event.target.closest?.("[data-toggle-word]");
    if (!chip) return;
    const field = chip.closest(".l-field");
    const input = $("input", field);
    const word = chip.dataset.toggleWord;
    const now = names(input);
    input.value = (now.includes(word) ? now.filter((one) => one !== word) : [...now, word]).join(",");
    // these are the studio's own data sets; a folder of somebody's own does not have them
    const folder = $('.l-field[data-name="dataset_dir"] input', field.closest("[data-form]"));
    if (folder) folder.value = JSON.parse(folder.closest(".l-field").dataset.default) ?? "";
    input.dispatchEvent(new Event("input", { bubbles: true }));
  });
  document.addEventListener("input", (event) => {
    const field = event.target.closest?.(".l-field");
    if (field && $("[data-toggle-word]", field)) press(field);
  });
  document.addEventListener("ladder:formed", ({ target }) => {
    for (const field of $$(".l-field", target)) if ($("[data-toggle-word]", field)) press(field);
  });
})();
