"""Documents to try the services with: Python's own documentation, and a user's folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from services.corpus import Document, folder_documents, questions_for, stdlib_documents


@pytest.fixture(scope="module")
def library() -> list[Document]:
    return list(stdlib_documents())


def test_the_standard_library_gives_megabytes_of_documents(library: list[Document]) -> None:
    assert len(library) > 200
    assert sum(len(document.text) for document in library) > 1_000_000
    assert len({document.document_id for document in library}) == len(library)
    zipfile = next(d for d in library if d.document_id in ("zipfile", "zipfile.__init__"))
    assert "Read and write ZIP files." in zipfile.text
    assert "zipfile.ZipFile.extract\n" in zipfile.text


def test_most_documents_can_be_asked_about(library: list[Document]) -> None:
    asked = [questions_for(document) for document in library]
    assert sum(bool(questions) for questions in asked) > 0.9 * len(library)
    assert asked == [questions_for(document) for document in library], "the same questions every time"


def test_documents_come_in_order_up_to_the_limit(library: list[Document]) -> None:
    assert list(stdlib_documents(limit=7)) == library[:7]
    assert list(stdlib_documents(limit=0)) == []
    assert all(len(d.text.encode()) >= 20_000 for d in stdlib_documents(min_bytes=10_000, limit=2))


def test_source_is_read_and_never_run(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text('"""The package."""\nraise SystemExit("it ran")\n')
    (tmp_path / "package" / "module.py").write_text(
        '"""Module."""\n'
        "try:\n    class C:\n        '''Class.'''\n        async def m(self):\n            '''Method.'''\n"
        "except ImportError:\n    pass\n"
    )
    (tmp_path / "broken.py").write_text("def (:\n")
    (tmp_path / "latin.py").write_bytes(b'# coding: nonsense\n"""x"""\n')
    (tmp_path / "silent.py").write_text("x = 1\n")
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "other.py").write_text('"""Not of the library."""\n')
    (tmp_path / "pydoc_data").mkdir()
    (tmp_path / "pydoc_data" / "topics.py").write_text("topics = {'assert': 'The assert statement.'}\n")
    texts = {d.document_id: d.text for d in stdlib_documents(min_bytes=1, root=tmp_path)}
    assert texts == {
        "package": "package\nThe package.",
        "package.module": (
            "package.module\nModule.\n\npackage.module.C\nClass.\n\npackage.module.C.m\nMethod."
        ),
        "topic.assert": "The assert statement.",
    }
    assert "package" not in sys.modules


def test_questions_are_made_of_the_documents_sentences() -> None:
    text = (
        "module.function\nReturn the nearest common ancestor of all given directory entries. Short one.\n\n"
        "module.other\nOther words explain that every call closes the underlying connection quietly.\n"
    )
    assert questions_for(Document("d", "t", text), count=5) == [
        "Where is it said that other words explain that every call closes the underlying connection quietly?",
        "How do I return the nearest common ancestor of all given directory entries?",
    ]
    assert questions_for(Document("d", "t", "def x(): return 1")) == []


def test_a_folder_gives_its_text_files_and_counts_the_rest(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "b.md").write_text("# Notes\n", encoding="utf-8-sig")
    (tmp_path / "a.TXT").write_text("ñ text")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "zero.txt").write_bytes(b"a\0b")
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    (tmp_path / "large.txt").write_text("x" * 1_001)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "secret.txt").write_text("secret")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "package.txt").write_text("package")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "notes" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "dangling.txt").symlink_to(tmp_path / "nowhere")
    scan = folder_documents(tmp_path, max_file_bytes=1_000)
    assert scan.documents == [
        Document("a.TXT", "a.TXT", "ñ text"),
        Document("notes/b.md", "notes/b.md", "# Notes\n"),
    ]
    assert scan.skipped == {
        "not UTF-8": 1,
        "binary": 1,
        "empty": 1,
        "not a text file type": 1,
        "too large": 1,
        "unreadable": 2,
    }


def test_a_long_file_becomes_several_documents_without_losing_anything(tmp_path: Path) -> None:
    text = "".join(f"line {n}\n" for n in range(50)) + "y" * 150
    (tmp_path / "long.txt").write_text(text)
    scan = folder_documents(tmp_path, max_characters=100)
    assert "".join(d.text for d in scan.documents) == text
    assert all(len(d.text) <= 100 for d in scan.documents)
    assert scan.documents[0].document_id == f"long.txt (part 1 of {len(scan.documents)})"
    assert scan.documents[0].text.endswith("\n")


def test_too_many_documents_are_left_out_and_counted(tmp_path: Path) -> None:
    for n in range(5):
        (tmp_path / f"{n}.txt").write_text("text")
    scan = folder_documents(tmp_path, max_documents=3)
    assert [d.document_id for d in scan.documents] == ["0.txt", "1.txt", "2.txt"]
    assert scan.skipped == {"over the number of documents": 2}


def test_a_single_file_and_a_missing_folder(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("text")
    assert folder_documents(tmp_path / "one.txt").documents == [Document("one.txt", "one.txt", "text")]
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        folder_documents(tmp_path / "nothing")
