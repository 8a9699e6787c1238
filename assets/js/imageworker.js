// The workers of the Image edit tab: the form is folded away but for a failure.
//
//   <div data-image-worker="none|alive|failed">   what runs, said by the server
//   <button data-image-fold>                      opens and shuts #image-worker-body
//   <button data-image-plan="diffusers/smoke">    opens it with this recipe in the form
//
// It follows what runs whenever that changes; in between a person's click decides.
(() => {
  let known = null;
  let open = null;
  let wanted = ""; // a recipe for the form, which may not be here yet

  function draw() {
    const body = document.getElementById("image-worker-body");
    body?.classList.toggle("l-shut", !open);
    body?.classList.toggle("l-at-work", known === "alive");
    for (const button of document.querySelectorAll("[data-image-fold]")) {
      button.setAttribute("aria-expanded", String(open));
    }
  }

  function choose() {
    const form = document.querySelector('#image-worker-form [data-work]');
    if (!wanted || !form?.dataset.engine) return;
    const card = form.querySelector(`[data-choose="${CSS.escape(wanted)}"]`);
    if (!card) return;
    wanted = "";
    card.click();
  }

  document.addEventListener("ladder:formed", choose);
  document.addEventListener("ladder:shown", choose);
  document.addEventListener("ladder:shown", ({ target }) => {
    const state = target.querySelector?.("[data-image-worker]")?.dataset.imageWorker;
    if (!state) return;
    if (state !== known) open = state === "failed"; // the desk below offers a start where none runs
    known = state;
    draw();
  });

  document.addEventListener("click", ({ target }) => {
    const plan = target.closest?.("[data-image-plan]");
    if (plan) {
      wanted = plan.dataset.imagePlan;
      open = true;
      draw();
      choose();
      document.getElementById("image-worker").scrollIntoView({ behavior: "smooth", block: "start" });
    } else if (target.closest?.("[data-image-fold]")) {
      open = !open;
      draw();
    } else if (target.closest?.('#image-worker-list [data-act="select"]')) {
      open = true;
      draw();
    }
  });
})();
