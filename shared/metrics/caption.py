"""Captions against people's: BLEU-1 to 4, METEOR, ROUGE-L, CIDEr and SPICE of pycocoevalcap.

Counts, formulas and Java programs are the package's, so numbers are those of the COCO captioning
server (Chen et al., 2015). Ours is how they are run: Java is looked for first, a program that hangs
is stopped, and what could not be had is None with the reason. Without Java the words are split by a
rule of ours, and metrics then carry its name: `cider_simple` is not to be compared with `cider`.
"""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from shared.errors import VermeilError

SECONDS = 900.0  # that each Java program may take
PTB, SIMPLE = "Stanford PTB 3.4.1", "simple"
SPICE_NEEDS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
WORD = re.compile(r"'?\w+")
JAVA = ("java", "-Dfile.encoding=UTF-8", "-Duser.language=en")

Name = TypeVar("Name", bound=Hashable)
Captions = dict[str, list[str]]  # by picture
Tokenized = tuple[Captions, Captions]  # what was said, and the references
System = tuple[Mapping[str, str], Mapping[str, Sequence[str]]]


@dataclass(frozen=True)
class CaptionScore:
    """One metric: over all captions, and of each in the order of the pictures; or why not."""

    value: float | None
    each: tuple[float, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class CaptionScores:
    """Scores by metric, with how many captions there were and how words were split."""

    n: int
    tokenizer: str
    scores: dict[str, CaptionScore]


class NotAvailable(Exception):
    """A Java program that could not be run, in words."""


def caption_scores(
    captions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    java: bool = True,
    seconds: float = SECONDS,
) -> CaptionScores:
    """One caption a picture against the one or several references of that picture.

    BLEU, METEOR, ROUGE-L and SPICE lie in [0, 1]; CIDEr (CIDEr-D, Vedantam et al., 2015) in
    [0, 10]. CIDEr weighs words by how rare they are in these very references, so that its value on
    a part of a set does not compare with that on the whole, and one picture has none. Pictures that
    miss a caption or a reference are a VermeilError.
    """
    return compare_captions({"": (captions, references)}, java=java, seconds=seconds)[""]


def compare_captions(
    systems: Mapping[Name, System], *, java: bool = True, seconds: float = SECONDS
) -> dict[Name, CaptionScores]:
    """The scores of several systems by name, as `caption_scores` has them of one.

    Each is (captions, references). The Java programs, whose start takes longer than their work, run
    once for all of them.
    """
    package = _package()
    for captions, references in systems.values():
        _check(captions, references)
    pairs = systems.values()
    texts = {text for captions, references in pairs for text in captions.values()}
    texts |= {text for _, references in pairs for some in references.values() for text in some}
    ordered = sorted(texts)
    try:
        if not java:
            raise NotAvailable("not asked for")
        _check_java()
        split, tokenizer, missing = _ptb(ordered, package, seconds), PTB, ""
    except NotAvailable as error:
        split, tokenizer, missing = [*map(simple_words, ordered)], SIMPLE, str(error)
    words = dict(zip(ordered, split, strict=True))
    tokenized = []
    for captions, references in pairs:
        keys = sorted(captions)
        said = {key: [words[captions[key]]] for key in keys}
        true = {key: [words[text] for text in references[key]] for key in keys}
        tokenized.append((said, true))
    found = [_without_java(said, true) for said, true in tokenized]
    for name, run in {"meteor": _meteor, "spice": _spice}.items():
        try:
            if missing:
                raise NotAvailable(missing)
            scores = run(tokenized, package, seconds)
        except NotAvailable as error:
            scores = [CaptionScore(None, reason=str(error)) for _ in tokenized]
        for of_system, score in zip(found, scores, strict=True):
            of_system[name] = score
    if tokenizer == SIMPLE:
        found = [{f"{name}_simple": score for name, score in of.items()} for of in found]
    sizes = (len(said) for said, _ in tokenized)
    return {
        name: CaptionScores(n, tokenizer, of)
        for name, n, of in zip(systems, sizes, found, strict=True)
    }


def simple_words(text: str) -> str:
    """Words in small letters, a space between: "The dog's ball." -> the dog 's ball."""
    return " ".join(WORD.findall(text.lower()))


def _check(captions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> None:
    alone = [len(captions.keys() - references.keys()), len(references.keys() - captions.keys())]
    if any(alone) or not captions:
        raise VermeilError(
            f"{len(captions):,} captions and references for {len(references):,} pictures: "
            f"{alone[0]:,} captions have no references, {alone[1]:,} pictures no caption",
            "give one caption and at least one reference for each picture",
        )
    for key, given in references.items():
        if isinstance(given, str) or not given or not all(text.strip() for text in given):
            raise VermeilError(
                f"the references of picture '{key}' are {given!r}",
                "a list of texts that say something",
            )


def _without_java(said: Captions, true: Captions) -> dict[str, CaptionScore]:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    values, each = Bleu(4).compute_score(true, said, verbose=0)
    scores = {
        f"bleu_{n}": CaptionScore(value, tuple(of_each))
        for n, (value, of_each) in enumerate(zip(values, each, strict=True), start=1)
    }
    value, each = Rouge().compute_score(true, said)
    scores["rouge_l"] = CaptionScore(float(value), tuple(map(float, each)))
    if len(said) < 2:
        few = "its weights of words come from all references, and there is one picture"
        return scores | {"cider": CaptionScore(None, reason=few)}
    value, each = Cider().compute_score(true, said)
    return scores | {"cider": CaptionScore(float(value), tuple(map(float, each)))}


def _ptb(texts: Sequence[str], package: Path, seconds: float) -> list[str]:
    """The texts in the Penn Treebank's words, without the punctuation that COCO leaves out."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS, STANFORD_CORENLP_3_4_1_JAR

    jar = package / "tokenizer" / STANFORD_CORENLP_3_4_1_JAR
    words = ("-cp", _jar(jar), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines",
             "-lowerCase")  # fmt: skip
    lines = "".join(" ".join(text.split()) + "\n" for text in texts)
    split = _run("the tokenizer", words, lines, seconds).split("\n")[:-1]
    if len(split) != len(texts):
        raise NotAvailable(f"the tokenizer made {len(split):,} lines of {len(texts):,}")
    return [" ".join(w for w in line.split() if w not in PUNCTUATIONS) for line in split]


def _meteor(systems: Sequence[Tokenized], package: Path, seconds: float) -> list[CaptionScore]:
    """Denkowski & Lavie, 2014: the program counts matches of each caption, then weighs them all."""
    words = ("-Xmx2G", "-jar", _jar(package / "meteor" / "meteor-1.5.jar"), "-", "-", "-stdio",
             "-l", "en", "-norm")  # fmt: skip
    # The tokenizer has split bars that stood in a text, and the caption comes last.
    asked = [
        " ||| ".join(["SCORE", *true[key], *said[key]]) for said, true in systems for key in said
    ]
    counts = _run("METEOR", words, "\n".join(asked) + "\n", seconds).splitlines()
    if len(counts) != len(asked):
        raise NotAvailable(f"METEOR answered {len(counts):,} times to {len(asked):,} captions")
    of_each = iter(counts)
    weighed = [" ||| ".join(["EVAL", *islice(of_each, len(said))]) for said, _ in systems]
    lines = iter(map(float, _run("METEOR", words, "\n".join(weighed) + "\n", seconds).split()))
    scores = []
    for said, _ in systems:
        each = tuple(islice(lines, len(said)))
        scores.append(CaptionScore(next(lines), each))
    return scores


def _spice(systems: Sequence[Tokenized], package: Path, seconds: float) -> list[CaptionScore]:
    """Anderson et al., 2016; the parser's models come with another package."""
    for name in SPICE_NEEDS:
        _jar(package / "spice" / "lib" / name)
    return [_spice_of(said, true, package / "spice", seconds) for said, true in systems]


def _spice_of(said: Captions, true: Captions, folder: Path, seconds: float) -> CaptionScore:
    entries = [{"image_id": key, "test": said[key][0], "refs": true[key]} for key in said]
    with tempfile.TemporaryDirectory() as work:
        asked, answer = Path(work, "in.json"), Path(work, "out.json")
        asked.write_text(json.dumps(entries))
        words = ("-Xmx8G", "-jar", _jar(folder / "spice-1.0.jar"), str(asked), "-cache", work,
                 "-out", str(answer), "-subset", "-silent")  # fmt: skip
        _run("SPICE", words, "", seconds)
        found = {str(e["image_id"]): e["scores"]["All"]["f"] for e in _json(answer)}
    each = tuple(float(found[key]) for key in said)
    return CaptionScore(sum(each) / len(each), each)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise NotAvailable(f"SPICE wrote nothing that can be read ({error})") from None


def _run(name: str, words: Sequence[str], given: str, seconds: float) -> str:
    """What a Java program says to a text; NotAvailable where it fails or takes too long."""
    try:
        done = subprocess.run(
            [*JAVA, *words], input=given.encode(), capture_output=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise NotAvailable(f"{name} was stopped after {seconds:g} s") from None
    except OSError as error:
        raise NotAvailable(f"Java cannot be run ({error.strerror})") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise NotAvailable(f"{name} ended with status {done.returncode} ({said[0][:200]})")
    return done.stdout.decode(errors="replace")


def _check_java() -> None:
    """NotAvailable where Java cannot be used; some systems have a `java` that is none."""
    if shutil.which("java") is None:
        raise NotAvailable("Java is not installed")
    _run("java -version", ("-version",), "", 60)


def _package() -> Path:
    spec = find_spec("pycocoevalcap")
    if spec is None or not spec.submodule_search_locations:
        raise VermeilError(
            "caption metrics take the package pycocoevalcap, which is not installed",
            'pip install -c constraints.txt -e ".[eval]"',
        )
    return Path(spec.submodule_search_locations[0])


def _jar(path: Path) -> str:
    if not path.is_file():
        raise NotAvailable(f"{path.name} is missing")
    return str(path)
