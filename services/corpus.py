"""Real documents for trying the services out: Python's own documentation strings, or a folder of the user's.

`stdlib_documents` reads the standard library's source with `ast` (nothing is imported, so nothing runs) and
gathers the docstrings of each module into one document; the language reference that ships with `pydoc` adds
its topics. `questions_for` takes sentences out of a document and asks for them, so the document that should
be found is known.
"""

from __future__ import annotations

import ast
import os
import re
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MAX_DOCUMENT_CHARACTERS = 200_000
MAX_FILE_BYTES = 8 * 1024 * 1024
TEXT_SUFFIXES = frozenset(
    {
        *(
            ".txt",
            ".md",
            ".markdown",
            ".rst",
            ".adoc",
            ".org",
            ".tex",
            ".csv",
            ".tsv",
            ".log",
            ".html",
            ".xml",
        ),
        *(
            ".json",
            ".yaml",
            ".yml",
            ".toml",
            ".ini",
            ".cfg",
            ".sql",
            ".sh",
            ".py",
            ".pyi",
            ".js",
            ".ts",
            ".java",
        ),
        *(".c", ".h", ".cpp", ".hpp", ".cs", ".go", ".rs", ".rb", ".php", ".lua"),
    }
)

_NOT_THE_LIBRARY = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"})
_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "site-packages", "dist-packages"})
_PYDOC_TOPICS = "pydoc_data/topics.py"


@dataclass(frozen=True, slots=True)
class Document:
    """One text to ingest. `document_id` is unique within the collection that it came from."""

    document_id: str
    title: str
    text: str


@dataclass(slots=True)
class FolderScan:
    """What a folder gave: its documents, and how many files were left out for which reason."""

    documents: list[Document] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def stdlib_documents(
    *, min_bytes: int = 500, limit: int | None = None, root: Path | None = None
) -> Iterator[Document]:
    """Yield the standard library's documentation, one document per module or language topic, in a fixed
    order.

    Lazy: a file is parsed when its document is asked for (all of them: two to three seconds, about 2.5 MB of
    text). `min_bytes` leaves out documents with less UTF-8 text; `root` is another source tree to read
    instead.
    """
    folder = root or Path(sysconfig.get_path("stdlib"))
    given = 0
    for path in _library_files(folder):
        for document in _documents_in(path, path.relative_to(folder)):
            if limit is not None and given >= limit:
                return
            if len(document.text.encode("utf-8", "replace")) >= min_bytes:
                given += 1
                yield document


def _library_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*.py") if _NOT_THE_LIBRARY.isdisjoint(p.relative_to(folder).parts))


def _documents_in(path: Path, relative: Path) -> Iterator[Document]:
    tree = _parsed(path)
    if tree is None:
        return
    if relative.as_posix() == _PYDOC_TOPICS:
        yield from _topics(tree)
        return
    parts = relative.with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
    text = "\n\n".join(_docstrings(tree, module))
    if text:
        yield Document(document_id=module, title=module, text=text[:MAX_DOCUMENT_CHARACTERS])


def _parsed(path: Path) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in library code are not this program's business
            return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):  # templates and deliberately broken samples
        return None


def _docstrings(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> Iterator[str]:
    """Docstrings below `node`, each under its dotted name; definitions inside `if` and `try` count too."""
    docstring = ast.get_docstring(node)
    if docstring and docstring.strip():
        yield f"{name}\n{docstring.strip()}"
    waiting: list[ast.stmt] = list(reversed(node.body))
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _docstrings(statement, f"{name}.{statement.name}")
        elif isinstance(statement, ast.If | ast.Try | ast.With):
            waiting.extend(reversed(statement.body))


def _topics(tree: ast.Module) -> Iterator[Document]:
    """The language reference of `pydoc`: a module whose only content is `topics = {name: text}`."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict):
            for name, text in ast.literal_eval(statement.value).items():
                yield Document(
                    f"topic.{name}", f"Python topic: {name}", text.strip()[:MAX_DOCUMENT_CHARACTERS]
                )


_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_PROSE = re.compile(r"[A-Z][a-z]+ [^\n>*=_`<|{}\\]+[.!?]")
_IMPERATIVE = re.compile(
    r"(?:Return|Create|Read|Write|Open|Close|Add|Remove|Get|Set|Make|Find|Check|Convert|Parse|Send|Print|Run|Start|Stop"
    r"|Register|Execute|Format|Split|Compute|Generate|Build|Copy|Delete|Wait|Connect|Decode|Encode|Load|Process|Test)"
    r"(?:s(?= ))? "
)


def questions_for(document: Document, *, count: int = 1) -> list[str]:
    """Up to `count` questions that `document` answers, made from sentences of its text; the same ones every
    time.

    The sentences with the most different words come first: short ones ("Return repr(self).") stand in many
    documents.
    """
    sentences: dict[str, int] = {}
    for paragraph in re.split(r"\n\s*\n", document.text):
        lines = paragraph.split("\n", 1)
        prose = (
            lines[1] if len(lines) == 2 and " " not in lines[0].strip() else paragraph
        )  # without the dotted name
        for raw in _SENTENCE.split(" ".join(prose.split())):
            words = {word.lower() for word in re.findall(r"[A-Za-z]{3,}", raw)}
            if 45 <= len(raw) <= 180 and len(words) >= 7 and _PROSE.fullmatch(raw):
                sentences.setdefault(raw, len(words))
    best = sorted(sentences, key=lambda sentence: -sentences[sentence])[
        :count
    ]  # stable: ties keep the text's order
    return [_as_question(sentence) for sentence in best]


def _as_question(sentence: str) -> str:
    body = sentence.rstrip(".!? ")
    verb = _IMPERATIVE.match(body)
    if verb:
        infinitive = (
            verb.group().strip().lower().removesuffix("s") if verb.group().endswith("s ") else body.split()[0]
        )
        return f"How do I {infinitive.lower()} {body[verb.end() :]}?"
    return f"Where is it said that {body[0].lower()}{body[1:]}?"


def folder_documents(
    path: Path | str,
    *,
    max_documents: int = 1_000,
    max_file_bytes: int = MAX_FILE_BYTES,
    max_characters: int = MAX_DOCUMENT_CHARACTERS,
) -> FolderScan:
    """Read the text files below `path` (or the one file that it names) in a fixed order.

    A long file becomes several documents ("name.txt (part 2 of 3)"). Left out, and counted by reason: other
    file types, files over `max_file_bytes`, files that are not UTF-8 text, empty or unreadable ones, and
    everything after `max_documents`. Hidden folders and installed packages are not entered; links to folders
    are not followed. Raises FileNotFoundError when `path` does not exist.
    """
    base = Path(path).expanduser()
    if not base.exists():
        raise FileNotFoundError(f"no such file or folder: {base} (give a folder with text files)")
    scan = FolderScan()
    for file in [base] if base.is_file() else _files_below(base):
        name = file.name if base.is_file() else file.relative_to(base).as_posix()
        text, reason = _text_of(file, max_file_bytes)
        for document in _parts(name, text, max_characters) if text else ():
            if len(scan.documents) < max_documents:
                scan.documents.append(document)
            else:
                reason = "over the number of documents"
        if reason:
            scan.skipped[reason] += 1
    return scan


def _files_below(base: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(base):
        subfolders[:] = sorted(s for s in subfolders if not s.startswith(".") and s not in _SKIPPED_FOLDERS)
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _text_of(file: Path, max_file_bytes: int) -> tuple[str, str]:
    """(text, "") or ("", why it was left out)."""
    if file.suffix.lower() not in TEXT_SUFFIXES:
        return "", "not a text file type"
    try:
        if not file.is_file():  # a socket or pipe with an innocent name would block the read
            return "", "unreadable"
        if file.stat().st_size > max_file_bytes:
            return "", "too large"
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        return "", "not UTF-8"
    except OSError:
        return "", "unreadable"
    if "\0" in text:
        return "", "binary"
    return (text, "") if text.strip() else ("", "empty")


def _parts(name: str, text: str, max_characters: int) -> Iterator[Document]:
    """`text` as one document, or as several that end at a line break where there is one."""
    pieces: list[str] = []
    start = 0
    while start < len(text):
        end = start + max_characters
        if end < len(text):
            line_end = text.rfind("\n", start, end) + 1
            end = line_end if line_end > start else end
        pieces.append(text[start:end])
        start = end
    pieces = [piece for piece in pieces if piece.strip()]
    for number, piece in enumerate(pieces, 1):
        label = name if len(pieces) == 1 else f"{name} (part {number} of {len(pieces)})"
        yield Document(document_id=label, title=label, text=piece)
