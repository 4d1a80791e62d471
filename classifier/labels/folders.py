"""Where in a zip of class folders a picture is: unique, and safe on every disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from classifier.bulk import folders
from classifier.imaging.formats import EXTENSIONS
from classifier.labels.labelled import Labelled

# What training passes over when it reads such a zip: no class, though the pictures are there.
NONE_FOLDER = "none-of-these"
# Names that Windows keeps for devices, whatever ending they have.
_DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{name}{n}" for name in ("com", "lpt") for n in range(10)
}
_LONGEST_STEM = 100  # bytes


class ClassFolders:
    """The folders of a model's labels, whose keys `labels` are: by the label that a person said.

    With `predicted` also by the predicted label, where nobody said anything.
    """

    def __init__(self, labels: Iterable[str], *, predicted: bool = False) -> None:
        self.predicted = predicted
        # First, so that it is never a label's folder, even of a label of that name.
        names = dict(folders.folder_names((NONE_FOLDER, *labels)))
        self._names = {label: _no_device(name) for label, name in names.items()}

    def path(self, row: Labelled) -> str | None:
        """Return where the row's picture goes; None where nobody said what it shows."""
        folder = self._folder(row)
        if folder is None:
            return None
        # The id makes it unique without remembering a million names, and tells whose it is.
        stem = PurePosixPath(folders.clean(row.file_name)).stem
        stem = stem.encode("utf-8", "replace")[:_LONGEST_STEM].decode("utf-8", "ignore")
        ending = EXTENSIONS.get(row.media_type, "bin")
        return f"{folder}/{_no_device(stem)}-{row.upload.hex}.{ending}"

    def _folder(self, row: Labelled) -> str | None:
        if row.is_none_of_these:
            return NONE_FOLDER
        if row.correction is None and not self.predicted:
            return None
        label = row.correction.label if row.correction else row.label
        return self._names.get(label) or _no_device(folders.clean(label))


def _no_device(name: str) -> str:
    return f"_{name}" if name.partition(".")[0].strip().casefold() in _DEVICES else name
