"""A request written as a `curl` command, to be copied. Keys are never in it."""

from __future__ import annotations

import json
import shlex

from studio.core.spec import Endpoint
from studio.images.request import EditRequest

KEY = "$OPENAI_API_KEY"


def curl_of(
    request: EditRequest, endpoint: Endpoint, *, names: tuple[str, ...] = (), mask: str = ""
) -> str:
    """Return the command that asks the same of an endpoint and saves the picture.

    `names` are the pictures' files where they are known, `mask` the mask's.
    """
    asked = request.settings
    url = f"{endpoint.base_url.rstrip('/')}/images/edits"
    lines = [f"curl -sS {shlex.quote(url)}"]
    if endpoint.api_key:
        lines.append(f'-H "Authorization: Bearer {KEY}"')
    field = "image[]" if len(request.pictures) > 1 else "image"
    for k in range(len(request.pictures)):
        name = names[k] if k < len(names) else f"picture-{k + 1}.png"
        lines.append(f"-F {shlex.quote(f'{field}=@{name}')}")
    if request.mask is not None:
        lines.append(f"-F {shlex.quote('mask=@' + (mask or 'mask.png'))}")
    fields = {
        "prompt": asked.prompt,
        "negative_prompt": asked.negative_prompt or None,
        "num_inference_steps": asked.num_inference_steps,
        "true_cfg_scale": asked.true_cfg_scale,
        "seed": asked.seed,
        "n": asked.n if asked.n != 1 else None,
        "size": asked.size if asked.size != "auto" else None,
        "loras": json.dumps(asked.loras) if asked.loras else None,
    }
    for key, value in fields.items():
        if value is not None:
            # --form-string: a prompt that begins with @ or < is text, no file
            lines.append(f"--form-string {shlex.quote(f'{key}={value}')}")
    save = 'import sys,json,base64; d=json.load(sys.stdin)["data"]; '
    save += '[open(f"out-{i}.png","wb").write(base64.b64decode(p["b64_json"])) '
    save += "for i,p in enumerate(d)]"
    return " \\\n  ".join(lines) + f" \\\n  | python3 -c '{save}'"
