"""What the prompts of Asterisk say, where their file names tell, and what recognisers write.

For build_speech.py. The lists at the foot were made by comparing with what recognisers hear, and
by reading what two of them agreed on.
"""

import re

SMALL = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
         "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
         "nineteen")  # fmt: skip
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
            "nine": "ninth", "twelve": "twelfth"}  # fmt: skip
DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september",
          "october", "november", "december")  # fmt: skip
SPELLING = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india",
            "juliet", "kilo", "lima", "mike", "november", "oscar", "papa", "quebec", "romeo",
            "sierra", "tango", "uniform", "victor", "whiskey", "x ray", "yankee",
            "zulu")  # fmt: skip
LARGE = ("hundred", "thousand", "million", "billion")
# Files whose last part, without what is before the last dash of a "vm-" or "queue-", is the word.
WORDS = (
    "activated", "added", "calling", "cancelled", "dictate/pause",
    "dictate/playback", "dictate/record", "digits/dollars", "digits/minus",
    "digits/oh", "digits/pound", "digits/star", "digits/today", "digits/tomorrow",
    "digits/yesterday", "disabled", "enabled", "extension", "for", "goodbye", "hello", "hours",
    "is", "letters/asterisk", "letters/dash", "letters/dollar", "letters/dot",
    "letters/equals", "letters/plus", "letters/slash", "letters/space", "letters/zed", "location",
    "lowercase", "number", "queue-minute", "queue-seconds",
    "removed", "second", "seconds", "spy-agent", "spy-console", "spy-jingle", "spy-local",
    "spy-skinny", "time", "uppercase", "vm-Family", "vm-Friends", "vm-Old", "vm-Urgent", "vm-Work",
    "vm-and", "vm-extension", "vm-first", "vm-for", "vm-from", "vm-goodbye", "vm-last",
    "vm-message", "vm-messages", "vm-no", "vm-password", "vm-press", "vm-received",
    "vm-saved", "with", "your",
)  # fmt: skip
# A name that is spelled otherwise than it is said.
OTHERS = {
    "de-activated": "deactivated",
    "digits/a-m": "a m",
    "digits/p-m": "p m",
    "digits/oclock": "o'clock",
    "letters/exclaimation-point": "exclamation point",
    "phonetic/9_p": "niner",
}
# Words of the closed vocabulary that sound like others that are said here.
HOMOPHONES = ("four", "for", "two", "eight", "a", "b", "c", "i", "o", "p", "r", "t", "u", "y", "oh",
              "no", "is")  # fmt: skip


def ordinal(cardinal: str) -> str:
    """seven -> seventh, twenty -> twentieth."""
    if cardinal in ORDINALS:
        return ORDINALS[cardinal]
    return f"{cardinal[:-1]}ieth" if cardinal.endswith("y") else f"{cardinal}th"


def number(value: int) -> str:
    """0 to 999,999 in words, as it is read out."""
    if value < 20:
        return SMALL[value]
    if value < 100:
        return f"{TENS[value // 10]} {SMALL[value % 10] if value % 10 else ''}".strip()
    scale, word = (1000, "thousand") if value >= 1000 else (100, "hundred")
    rest = number(value % scale) if value % scale else ""
    return f"{number(value // scale)} {word} {rest}".strip()


def named() -> dict[str, str]:
    """What is said in each file whose name tells it."""
    found = dict(OTHERS)
    cardinals = {str(value): number(value) for value in (*range(21), *range(30, 100, 10))}
    cardinals |= {word: word for word in LARGE}
    for name, word in cardinals.items():
        found[f"digits/{name}"] = word
        if name != "0":
            found[f"digits/h-{name}"] = ordinal(word)
    found |= {f"digits/day-{n}": day for n, day in enumerate(DAYS)}
    found |= {f"digits/mon-{n}": month for n, month in enumerate(MONTHS)}
    found |= {f"phonetic/{word[0]}_p": word for word in SPELLING}
    found |= {f"letters/{chr(code)}": chr(code) for code in range(ord("a"), ord("z") + 1)}
    for file in WORDS:
        found[file] = file.rpartition("/")[2].rpartition("-")[2].lower()
    return found


def spoken(text: str) -> str:
    """A recogniser's text as it is said: lower case, no punctuation, numbers in words.

    "" where it has what is read in more than one way, such as "3D" and "5:30".
    """
    text = text.lower().replace("’", "'").replace(",", "" if re.search(r"\d,\d{3}", text) else " ")
    text = re.sub(r"\bre-(?=[a-z])", "re", text).replace("-", " ")
    words = []
    for word in re.sub(r"[.?!;]+(?=\s|$)|[\"“”()…]", " ", text).split():
        if digits := re.fullmatch(r"(\d{1,6})(st|nd|rd|th)?", word, re.ASCII):
            *before, last = number(int(digits[1])).split()
            words += [*before, ordinal(last) if digits[2] else last]
        elif re.fullmatch(r"[a-z]+('[a-z]+)*", word):
            words.append(word)
        else:
            return ""
    return " ".join(words)


# Two recognisers agreed on these and misheard, by the reading of a person: what a prompt of a
# telephone exchange cannot say, such as "press start to cancel" (star) and "colors waiting"
# (callers). They are left out, not mended. Of tones and silence both wrote "you".
MISHEARD = (
    "ascending-2tone", "beep", "beeperr", "call-waiting", "confbridge-join", "confbridge-leave",
    "confbridge-lock-extended", "confbridge-lock-in", "descending-2tone", "dir-multi2",
    "entr-num-rmv-blklist", "letters/ascii40", "privacy-to-blacklist-last-caller",
    "queue-quantity2", *(f"silence/{n}" for n in range(1, 11)), "spy-iax", "to-listen-to-it",
    "to-rerecord-it", "vm-instructions", "vm-onefor", "vm-options", "vm-savedto", "vm-savefolder",
    "vm-star-cancel", "vm-tocancelmsg",
)  # fmt: skip
# Files that are one recording: normalised cross-correlation of every clip named by its file with
# every prompt, at its best place, gives 1.0 for these, and for all others less than 0.85 (vowels).
SAME_TAKE = ({"seconds", "queue-seconds"},)
