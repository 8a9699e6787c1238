"""The real front of the image editor over the fake pipe, as a process of its own."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "studio" / "engines" / "workers"))

from image_edit.serve import main  # noqa: E402

sys.exit(main(pipe=(sys.executable, str(HERE / "image_pipe.py"))))
