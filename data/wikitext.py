"""Wikitext as a reader sees it: prose and headings, without boxes, tables, pictures and notes."""

import html
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import mwparserfromhell
from mwparserfromhell import nodes
from mwparserfromhell.wikicode import Wikicode

# Tags whose content is no prose; a formula's TeX is kept, for the sentence needs it.
DROPPED = frozenset(
    ("ref", "references", "table", "gallery", "imagemap", "timeline", "score", "graph", "mapframe",
     "maplink", "templatestyles", "style", "script", "section", "indicator", "hiero")
)  # fmt: skip
# Templates that show their parameters as text: which of them, with a space between.
SHOWN = {
    "convert": ("1", "2"),
    "cvt": ("1", "2"),
    "lang": ("2",),
    "nowrap": ("1",),
    "nobr": ("1",),
    "transl": ("2",),
    "em": ("1",),
    "abbr": ("1",),
    "as of": ("1",),
}
# Sections at an article's end that hold lists of other texts.
APPARATUS = frozenset(
    ("see also", "references", "notes", "footnotes", "citations", "sources", "bibliography",
     "further reading", "external links", "works cited", "notes and references")
)  # fmt: skip
BULLET = {"*": "- ", "#": "- "}  # ; and : only set text out
INTERLANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z-]+)?:")
CLEAN: tuple[tuple[re.Pattern[str], Any], ...] = (
    (
        re.compile(r"&#?\w+;"),
        lambda match: html.unescape(match[0]),
    ),  # in text that is escaped twice
    (re.compile(r"'{2,5}"), ""),  # italics and bold
    (re.compile(r"__[A-Z]+__"), ""),  # __NOTOC__
    (re.compile(r"\(\s*[,;:]*\s*\)"), ""),  # what held nothing but a template
    (re.compile(r"\(\s*[,;:]?\s*"), "("),
    (re.compile(r"[ \t\xa0]+"), " "),
    (re.compile(r" +([,.;:)])"), r"\1"),
    (re.compile(r"(?m)^(- )+"), "- "),
    (re.compile(r"(?m)^ *(-|\*)? *$"), ""),  # a bullet whose text is gone
    (re.compile(r"(?m)^ +| +$"), ""),
    (re.compile(r"\n{3,}"), "\n\n"),
)


@dataclass
class _Section:
    level: int
    heading: str
    parts: list[str] = field(default_factory=list)


def plain_text(
    wikitext: str, hidden: Collection[str] = ("file", "image", "category")
) -> str | None:
    """The article's prose, paragraphs and headings a blank line apart; None if it cannot be parsed.

    Links to the namespaces in `hidden` (lower case) show no text. Sections without prose are left
    out, and so are those of `APPARATUS`.
    """
    try:
        # Bold and italics nest wrongly so often that they are better removed as characters.
        code = mwparserfromhell.parse(wikitext, skip_style_tags=True)
        sections = _sections(code, hidden)
    except (mwparserfromhell.parser.ParserError, RecursionError):
        return None
    blocks: list[str] = []
    deeper = 0  # level of the heading that follows, of those that are kept
    for section in reversed(_without_apparatus(sections)):
        text = _clean("".join(section.parts))
        if text or deeper > section.level:
            blocks += [block for block in (text, _clean(section.heading)) if block]
            deeper = section.level
    return "\n\n".join(reversed(blocks))


def _sections(code: Wikicode, hidden: Collection[str]) -> list[_Section]:
    sections = [_Section(0, "")]
    for node in code.nodes:
        if isinstance(node, nodes.Heading):
            sections.append(_Section(node.level, _visible(node.title, hidden)))
        else:
            sections[-1].parts.append(_shown(node, hidden))
    return sections


def _without_apparatus(sections: list[_Section]) -> list[_Section]:
    """All but the sections of `APPARATUS` and what is below them."""
    kept, below = [], 7  # headings have levels 1 to 6
    for section in sections:
        if section.level <= below:
            below = section.level if section.heading.strip().lower() in APPARATUS else 7
            if below == 7:
                kept.append(section)
    return kept


def _visible(code: Wikicode | None, hidden: Collection[str]) -> str:
    return "".join(_shown(node, hidden) for node in code.nodes) if code else ""


def _shown(node: nodes.Node, hidden: Collection[str]) -> str:
    """What a reader sees of one node."""
    match node:
        case nodes.Text():
            return node.value
        case nodes.HTMLEntity():
            return node.normalize()
        case nodes.Wikilink():
            title = str(node.title).strip()
            if title.partition(":")[0].strip().lower() in hidden:
                return ""
            if node.text is not None:
                return _visible(node.text, hidden)
            return "" if INTERLANGUAGE.match(title) else title.removeprefix(":")
        case nodes.ExternalLink():
            return _visible(node.title, hidden)
        case nodes.Template():
            shown = SHOWN.get(str(node.name).strip().lower(), ())
            values = [node.get(key).value for key in shown if node.has(key)]
            return " ".join(_visible(value, hidden).strip() for value in values)
        case nodes.Tag():
            tag = str(node.tag).strip().lower()
            if tag in DROPPED:
                return ""
            if node.wiki_markup or tag == "br":
                return BULLET.get(node.wiki_markup or "", "" if node.wiki_markup else "\n")
            return _visible(node.contents, hidden)
    return ""  # comments and parameters


def _clean(text: str) -> str:
    for pattern, replacement in CLEAN:
        text = pattern.sub(replacement, text)
    return text.strip()
