"""The demo's way to the example application in `services/`, which only a checkout has."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from nooble_tasks.errors import ConfigurationError


class Text(NamedTuple):
    """A document to upload, and questions that it answers."""

    document_id: str
    title: str
    text: str
    questions: tuple[str, ...]


class Application(NamedTuple):
    """Where the services are, and the texts to feed them with."""

    folder: Path
    corpus: Any

    @property
    def procfile(self) -> Path:
        """The Procfile with a worker per service."""
        return self.folder / "Procfile"

    def library_texts(self, limit: int) -> Iterator[Text]:
        """Documentation of Python's standard library, each text with a question at least."""
        given = 0
        for document in self.corpus.stdlib_documents(min_bytes=800):
            text = self._text(document)
            if text.questions and given < limit:
                given += 1
                yield text
            if given >= limit:
                return

    def folder_texts(self, path: Path) -> list[Text]:
        """The text files below a folder of the user's. Raises ConfigurationError when there are none."""
        try:
            scan = self.corpus.folder_documents(path)
        except OSError as error:
            raise ConfigurationError(str(error)) from None
        if not scan.documents:
            left_out = ", ".join(f"{number} {reason}" for reason, number in scan.skipped.items())
            raise ConfigurationError(
                f"{path} holds no text file that can be read ({left_out or 'it is empty'}); "
                "give a folder with .txt, .md, .rst, .py or similar files"
            )
        return [self._text(document) for document in scan.documents]

    def _text(self, document: Any) -> Text:
        questions = tuple(self.corpus.questions_for(document, count=3))
        return Text(document.document_id[:256], document.title[:300], document.text, questions)


def find_application() -> Application:
    """The services of the checkout this runs in. Raises ConfigurationError where there are none."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        present = find_spec("services.corpus") is not None
    except ModuleNotFoundError:
        present = False
    if not present:
        raise ConfigurationError(
            "the demo runs the example services of the nooble-tasks repository, which are not part of the "
            "installed package. Next step: clone the repository and run `make demo` in it "
            "(`make demo ARGS='--path DIR'` for texts of your own)"
        )
    try:
        corpus = import_module("services.corpus")
        import_module("services.embedding")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the example services need {error.name}; `pip install 'nooble-tasks[services]'`"
        ) from None
    assert corpus.__file__ is not None
    return Application(Path(corpus.__file__).resolve().parents[1], corpus)
