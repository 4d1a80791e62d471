"""Takes what running left out of the notebooks here: outputs, counts, times, which Python it was.

`make format` calls it (`python -m notebooks.strip`). A notebook that is clean stays as it is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def stripped(text: str) -> str:
    """Return a notebook's JSON without what a run writes into it, laid out as Jupyter does."""
    notebook: dict[str, Any] = json.loads(text)
    for cell in notebook["cells"]:
        cell["metadata"] = {}
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    notebook["metadata"] = METADATA
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    for path in sorted(FOLDER.glob("*.ipynb")):
        text = path.read_text("utf-8")
        if (clean := stripped(text)) != text:
            path.write_text(clean, "utf-8")
            sys.stdout.write(f"Stripped {path.name}.\n")


if __name__ == "__main__":
    main()
