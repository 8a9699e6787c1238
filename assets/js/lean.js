// What only scripts call is taken out of Gradio's description of the page before Gradio reads it: it
// would make a node of the page of every argument and answer, a third of all nodes. The list of
// handlers stays, and with it what the view of the API says.
(() => {
  const { gradio_config: config } = window;
  if (!config) return;
  const calls = config.components.filter(({ type }) => type === "api").map(({ id }) => id);
  const gone = new Set(calls);
  const prune = (node) => {
    if (!node?.children) return;
    node.children = node.children.filter(({ id }) => !gone.has(id));
    node.children.forEach(prune);
  };
  config.components = config.components.filter(({ id }) => !gone.has(id));
  prune(config.layout);
  for (const part of Object.values(config.page ?? {})) {
    part.components = part.components.filter((id) => !gone.has(id));
    prune(part.layout);
  }
})();
