#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""Find words of our own where the field has a word: in help texts, public docstrings and documentation pages.

`terms.txt` beside this script has one rule a line; `terms_exceptions.txt` lists the places where a word is right all
the same, each with its reason. Code is left out: fenced blocks, inline code, and `>>>` examples.

    python ci/scripts/check_terms.py              # everything
    python ci/scripts/check_terms.py bionemo-llm  # one package; `docs` for the pages outside the packages
"""

import argparse
import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


ROOT = Path(__file__).resolve().parents[2]
RULES_PATH = Path(__file__).with_name("terms.txt")
EXCEPTIONS_PATH = Path(__file__).with_name("terms_exceptions.txt")
HELP_ARGUMENTS = {"help", "description", "epilog", "title"}
MESSAGE_METHODS = {"debug", "info", "warning", "error", "exception", "warn"}
CODE = re.compile(r"``[^`]+``|`[^`]+`|(?m:^ *>>> .*$)")
ARGUMENT_NAME = re.compile(r"^\*{0,2}[a-z_]\w*(, \w+)*( \([^)]*\))?: ")
PARAGRAPH_BREAK = re.compile(r"\n[ \t]*(?=\n|[-*|#>] ?|\d+\. |\w+( \([^)]*\))?:[ \n])")


@dataclass(frozen=True)
class Rule:
    """One line of terms.txt."""

    pattern: re.Pattern[str]
    write: str
    """What to write instead."""
    kinds: tuple[str, ...]
    """Kinds of text it applies to; empty for all."""
    introduced_by: re.Pattern[str] | None
    """A file in which this is found may use the word."""


@dataclass(frozen=True)
class Text:
    """A paragraph that a user reads."""

    path: str
    line: int
    kind: str
    """"help", "summary" (a docstring's first line), "docstring" (the rest), "page" or "message"."""
    text: str


@dataclass(frozen=True)
class Finding:
    """A rule that matches a text."""

    text: Text
    rule: Rule
    match: str

    def __str__(self) -> str:
        """Format as one line."""
        shown = f"{self.text.path}:{self.text.line}: {self.text.kind}: {self.match!r}"
        return f"{shown}: write {self.rule.write}\n    {self.text.text[:200]}"


def read_rules(path: Path) -> list[Rule]:
    """Read `[kind[,kind]: ]PATTERN => WRITE[ unless PATTERN]` from every line that is no comment."""
    rules = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern, _, write = line.partition(" => ")
        kinds = re.match(r"((?:help|summary|docstring|page|message|,)+): ", pattern)
        write, _, introduced_by = write.partition(" unless ")
        rules.append(
            Rule(
                re.compile(pattern[kinds.end() :] if kinds else pattern),
                write,
                tuple(kinds.group(1).split(",")) if kinds else (),
                re.compile(introduced_by) if introduced_by else None,
            )
        )
    return rules


def read_exceptions(path: Path) -> list[tuple[str, str, str]]:
    """Read `PATH | WORDS OF THE TEXT | REASON` from every line that is no comment."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    entries = [tuple(part.strip() for part in line.split("|")) for line in lines if line and not line.startswith("#")]
    wrong = [" | ".join(entry) for entry in entries if len(entry) != 3 or not all(entry)]
    if wrong:
        sys.exit(f"check_terms.py: error: {path}: expected 'PATH | WORDS | REASON', found {wrong[0]!r}")
    return [(entry[0], entry[1], entry[2]) for entry in entries]


def paragraphs(path: str, line: int, kind: str, text: str) -> Iterator[Text]:
    """Split a text at empty lines, list items, table rows and sections, and leave its code out."""
    start = 0
    for end in [*(match.start() for match in PARAGRAPH_BREAK.finditer(text)), len(text)]:
        part = text[start:end]
        words = " ".join(CODE.sub("…", part).split())
        if kind == "docstring":
            words = ARGUMENT_NAME.sub("", words)
        if words:
            before = text[: start + len(part) - len(part.lstrip())]
            yield Text(
                path, line + before.count("\n"), "summary" if kind == "docstring" and not start else kind, words
            )
        start = end


def string_value(node: ast.expr) -> str:
    """Return the constant parts of a string expression."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(string_value(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp):
        return string_value(node.left) + string_value(node.right)
    return ""


def public_docstrings(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the docstrings of a module, of what is public in it, and of public attributes."""
    body = getattr(node, "body", [])
    for before, statement in zip([None, *body], body, strict=False):
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            is_text = isinstance(statement.value.value, str)
            if is_text and (before is None or isinstance(before, ast.Assign | ast.AnnAssign)):
                yield statement.lineno, str(statement.value.value)
        elif isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if not statement.name.startswith("_"):
                inside = statement if isinstance(statement, ast.ClassDef) else ast.Module(statement.body[:1], [])
                yield from public_docstrings(inside)


def help_texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield what is passed as help, description or title, and class attributes and constants named so."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in HELP_ARGUMENTS:
            yield node.value.lineno, string_value(node.value)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if re.search(r"(?i)(^|_)(help|usage|description|epilog)$", node.targets[0].id):
                yield node.value.lineno, string_value(node.value)


def messages(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the texts of errors that are raised and of log lines."""
    for node in ast.walk(tree):
        called = node.exc if isinstance(node, ast.Raise) else node
        if not isinstance(called, ast.Call):
            continue
        is_log = isinstance(called.func, ast.Attribute) and called.func.attr in MESSAGE_METHODS
        if isinstance(node, ast.Raise) or is_log:
            yield from ((argument.lineno, string_value(argument)) for argument in called.args)


def texts_of_module(path: str, source: str, *, with_messages: bool) -> Iterator[Text]:
    """Yield the texts of one Python file of a package."""
    tree = ast.parse(source, filename=path)
    kinds = {"help": help_texts(tree), "docstring": public_docstrings(tree)}
    if with_messages:
        kinds["message"] = messages(tree)
    for kind, found in kinds.items():
        for line, text in found:
            yield from paragraphs(path, line, kind, text)


def texts_of_page(path: str, source: str) -> Iterator[Text]:
    """Yield the paragraphs of a Markdown page, or of the Markdown cells of a script from which a notebook is made."""
    if path.endswith(".py"):
        cells = re.split(r"(?m)^# %%", source)
        kept = [
            re.sub(r"(?m)^# ?", "", cell) if cell.startswith(" [markdown]") else "\n" * cell.count("\n")
            for cell in cells
        ]
        source = "".join(kept)
    without_code = re.sub(r"(?ms)^( *)```.*?^\1```$", lambda block: "\n" * block.group().count("\n"), source)
    yield from paragraphs(path, 1, "page", without_code)


def chosen_files(root: Path, places: list[str]) -> list[Path]:
    """List the files under version control that belong to the places named: packages, or `docs`."""
    listing = subprocess.run(["git", "-C", root, "ls-files", "-z"], check=True, capture_output=True, text=True).stdout
    chosen = []
    for name in sorted(filter(None, listing.split("\0"))):
        parts = Path(name).parts
        place = parts[1] if parts[0] == "sub-packages" else "docs"
        if (not places or place in places) and not (root / name).is_symlink() and (root / name).is_file():
            chosen.append(root / name)
    return chosen


def collect(root: Path, places: list[str], *, with_messages: bool = False) -> Iterator[Text]:
    """Yield every text of the places named, or of all."""
    for path in chosen_files(root, places):
        name = path.relative_to(root).as_posix()
        is_tutorial = re.match(r"docs/docs/.*\.py$|sub-packages/[^/]+/examples/.*\.py$", name)
        if path.suffix == ".md" or is_tutorial:
            yield from texts_of_page(name, path.read_text(encoding="utf-8"))
        elif path.suffix == ".py" and "/src/bionemo/" in name:
            yield from texts_of_module(name, path.read_text(encoding="utf-8"), with_messages=with_messages)


def find(texts: list[Text], rules: list[Rule]) -> list[Finding]:
    """Return each rule that matches a text, at most once a text."""
    whole: dict[str, str] = {}
    for text in texts:
        whole[text.path] = f"{whole.get(text.path, '')} {text.text}"
    found = []
    for text in texts:
        for rule in rules:
            if rule.kinds and text.kind not in rule.kinds:
                continue
            if rule.introduced_by and rule.introduced_by.search(whole[text.path]):
                continue
            if match := rule.pattern.search(text.text):
                found.append(Finding(text, rule, match.group()))
    return found


def main(argv: list[str] | None = None) -> int:
    """Print the findings that are no exception; with --max-findings exit 1 when there are more."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("places", nargs="*", help="Packages such as bionemo-llm, or docs. Default: all.")
    parser.add_argument("--root", type=Path, default=ROOT, help="Checkout to look at.")
    parser.add_argument("--messages", action="store_true", help="Look at error messages and log lines too.")
    parser.add_argument("--max-findings", type=int, help="Number of findings allowed; without it any number is.")
    parser.add_argument("--quiet", action="store_true", help="Print the counts only.")
    args = parser.parse_args(argv)
    findings = find(list(collect(args.root, args.places, with_messages=args.messages)), read_rules(RULES_PATH))
    exceptions = read_exceptions(EXCEPTIONS_PATH)
    excused = {f: e for f in findings for e in exceptions if f.text.path == e[0] and e[1] in f.text.text}
    left = [finding for finding in findings if finding not in excused]
    if not args.quiet:
        print("".join(f"{finding}\n" for finding in left), end="")
    for write, count in Counter(finding.rule.write for finding in left).most_common():
        print(f"{count:6d}  {write}")
    print(f"{len(left):6d}  findings; {len(excused)} more are excused by {len(exceptions)} exceptions")
    unused = [] if args.places else [entry for entry in exceptions if entry not in excused.values()]
    for path, words, _ in unused:
        print(f"check_terms.py: error: nothing needs the exception '{path} | {words}'", file=sys.stderr)
    too_many = args.max_findings is not None and len(left) > args.max_findings
    if too_many:
        print(f"check_terms.py: error: {len(left)} findings, at most {args.max_findings}", file=sys.stderr)
    return 1 if too_many or unused else 0


if __name__ == "__main__":
    sys.exit(main())
