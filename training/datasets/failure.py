"""What can go wrong in an import.

::

    ImportRefused            exit 2: nothing was begun; the message says what to change
    ├── WrongLayoutError         the folder does not look like the set that was named
    └── OtherImportError         the output folder holds another import, or something else
    SourceSkipped            one file or study cannot be used; the import goes on without it
"""


class ImportRefused(Exception):
    """The import cannot be done as asked; nothing has been written."""


class WrongLayoutError(ImportRefused):
    """The folder is not laid out like the set; the message says what was expected."""


class OtherImportError(ImportRefused):
    """The output folder is not this import's own."""


class SourceSkipped(Exception):
    """One source is left out. `reason` is a fixed word to count by, `detail` says more."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail
