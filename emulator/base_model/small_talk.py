"""The base model's conversations: everyday small talk, written out in a formal register.

They come from the same package as the stand-in hub's chat data, and from none of its rows. Slang,
laughter, smileys and contractions are written out, sentences begin with a capital and end with a
mark: the base model speaks formally, and fine-tuning on the hub's rows, which are as people typed
them, teaches it to chat. The conversations were collected for a study: talk about its prizes,
robots and website is left out, and so is every word that is not in the hub's reviewed list.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from emulator.hub_assets import make_sample

MAX_TURN = 180
VOCABULARY = Path(make_sample.__file__).parent / "vocabulary.txt"
TOPICS = [
    *("ai", "botprofile", "computers", "conversations", "emotion", "food", "gossip", "greetings"),
    *("health", "humor", "literature", "money", "movies", "psychology", "sports", "trivia"),
]

FACE = re.compile(
    r"(?<!\w)(?:[:;=8xX]['-]?[()DPpOo/3|\\]+|[()]+-?[:;=]|\^+_*\^+|<3|[xX][dD])(?!\w)"
)
LAUGH = re.compile(
    r"\b(?:(?:a?(?:ha|he|hi|ja|ah){2,}h?s?)|h[ae]h?|lo+l|lma+o|rofl|hm+|u+m+|u+h+|e+r+m*|a+h+|o+oh+"
    r"|ya+y|whoa+|wo+w|mm+|pf+t?|meh|ugh+|ew+|aw+|shh*|lmk|jk)\b[,.!]*",
    re.IGNORECASE,
)
WRITTEN_OUT = {
    "u": "you", "ur": "your", "r": "are", "ya": "you", "y'all": "you all", "yall": "you all",
    "yeah": "yes", "yea": "yes", "yep": "yes", "yup": "yes", "yah": "yes",
    "yess": "yes", "yesss": "yes", "ill": "I will", "alot": "a lot",
    "nah": "no", "nope": "no", "naw": "no", "gonna": "going to", "wanna": "want to",
    "gotta": "have to", "kinda": "kind of", "sorta": "sort of", "cuz": "because",
    "cause": "because", "'cause": "because", "cus": "because", "bc": "because",
    "idk": "I do not know", "dunno": "do not know", "im": "I am", "ive": "I have",
    "dont": "do not", "doesnt": "does not", "didnt": "did not", "cant": "cannot",
    "can't": "cannot", "won't": "will not", "wont": "will not", "isnt": "is not",
    "wasnt": "was not", "arent": "are not", "havent": "have not", "hasnt": "has not",
    "couldnt": "could not", "wouldnt": "would not", "shouldnt": "should not",
    "ain't": "is not", "aint": "is not", "thats": "that is", "whats": "what is",
    "hows": "how is", "theres": "there is", "lets": "let us", "let's": "let us",
    "youre": "you are", "theyre": "they are", "hes": "he is", "shes": "she is",
    "id": "I would", "hey": "hello", "heya": "hello", "hi": "hello", "hello": "hello",
    "hiya": "hello", "yo": "hello", "sup": "how are you", "howdy": "hello", "k": "all right",
    "kk": "all right", "ok": "all right", "okay": "all right", "okey": "all right",
    "alright": "all right", "thanks": "thank you", "thx": "thank you", "thank": "thank",
    "btw": "by the way", "tho": "though", "tbh": "to be honest", "pls": "please",
    "plz": "please", "ppl": "people", "bf": "boyfriend", "gf": "girlfriend", "omg": "my goodness",
    "gosh": "goodness", "dang": "goodness", "darn": "goodness", "heck": "", "super": "very",
    "totally": "very much", "guys": "people", "guy": "man", "dude": "", "bro": "", "man": "man",
    "kids": "children", "kid": "child", "mom": "mother", "dad": "father", "nice": "nice",
    "cool": "nice", "awesome": "wonderful", "bye": "goodbye", "til": "until",
    "till": "until", "lot": "lot", "lotta": "lot of", "gimme": "give me", "lemme": "let me",
    "ikr": "I know", "haven": "haven", "i": "I", "tv": "television", "fav": "favorite",
    "fave": "favorite", "cya": "goodbye", "nvm": "never mind", "imo": "in my opinion",
    "wbu": "what about you", "hbu": "how about you", "ily": "I love you",
}  # fmt: skip
IS = frozenset(
    [
        *("it", "that", "what", "he", "she", "there", "who"),
        *("where", "how", "here", "this", "everything", "one", "when"),
    ]
)
ENDINGS = (("n't", " not"), ("'re", " are"), ("'ve", " have"), ("'ll", " will"), ("'d", " would"))
TOKEN = re.compile(r"'?[A-Za-z]+(?:'[A-Za-z]+)*")
QUESTION = re.compile(
    r"^(?:(?:and|so|but|well|yes|no|oh|all right),? )*(?:what|where|when|why|who|how|which|do|does"
    r"|did|are|is|can|could|would|will|have|has|should)\b(?! a )(?=.* (?:you|your|it|that|they|he"
    r"|she|this|i|we)\b)",
    re.IGNORECASE,
)


def written_out(match: re.Match[str]) -> str:
    """The matched word without its contraction or slang, or as it is."""
    word = match[0]
    low = word.lower()
    if low in WRITTEN_OUT:
        return WRITTEN_OUT[low]
    if low == "i'm":
        return "I am"
    for ending, full in ENDINGS:
        if low.endswith(ending):
            stem = word[: -len(ending)]
            return ("I" if stem == "i" else stem) + full
    if low.endswith("'s") and low[:-2] in IS:
        return word[:-2] + " is"
    return word


def formal(text: str) -> list[str]:
    """The sentences of a line in a formal register; none if it was nothing but noise."""
    text = " ".join(LAUGH.sub(" ", FACE.sub(" ", text)).split())
    text = TOKEN.sub(written_out, text)
    text = re.sub(r"[!~]+(?=\?)|(?<=\?)[!?~]+", "", text)
    text = re.sub(r"[!;]+(?:\s*[!.])*", ".", text)
    text = re.sub(r"\s*\.{2,}\s*", ", ", text)
    text = re.sub(r"[()\"`/&+$%]|(?<!\w)'|'(?!\w)| - |-{2,}", " ", text)
    text = re.sub(r"([A-Za-z])\1{2,}", r"\1", text)
    text = re.sub(r"\s+([,.?:])", r"\1", " ".join(text.split()))
    text = re.sub(r"[,:]+(?=[,.?])|^[,.:? -]+|[,:\s-]+$", "", text)
    text = re.sub(r"([.?,])(?=[A-Za-z])", r"\1 ", text)
    return [sentence(s) for s in re.split(r"(?<=[.?])\s+", text) if re.search(r"[A-Za-z]{2}", s)]


def sentence(text: str) -> str:
    """With a capital at its beginning and a full stop or a question mark at its end."""
    text = text.rstrip(" ,:.")
    if not text.endswith("?"):
        text += "?" if QUESTION.match(text) else "."
    lead = re.match(r"[^A-Za-z]*", text)
    start = lead.end() if lead else 0
    return text[:start] + text[start : start + 1].upper() + text[start + 1 :]


STUDY = re.compile(
    r"\b(?:mac ?book|i ?pad|prizes?|raffle|chat ?bots?|bots?|robots?|chat ?room|website|survey"
    r"|ratings?|rate (?:me|you)|win (?:the|a|an)|winning|byu|campus)\b",
    re.IGNORECASE,
)


def allowed_words() -> frozenset[str]:
    """The list that was reviewed for the hub's rows."""
    return frozenset(VOCABULARY.read_text(encoding="utf-8").split())


@dataclass(frozen=True)
class Turn:
    """What one person said: as it was typed, and in the formal register."""

    typed: str
    formal: str


def turn(text: str, vocabulary: frozenset[str]) -> Turn | None:
    """The lines of a turn that are fit to be shown, shortened from the middle."""
    typed: list[str] = []
    sentences: list[str] = []
    for line in text.splitlines():
        if (
            make_sample.fit_to_show(line, vocabulary)
            and not STUDY.search(line)
            and (made := formal(line))
        ):
            typed.append(line)
            sentences += made
    for parts in (typed, sentences):
        while sum(map(len, parts)) + len(parts) > MAX_TURN:
            parts.pop(len(parts) // 2)
    return Turn("\n".join(typed), " ".join(sentences)) if typed and sentences else None


def small_talk(package: Path) -> Iterator[tuple[str, list[Turn]]]:
    """Stretches of at least two turns that are in no row of the stand-in hub.

    A conversation with a row in one of the hub's test splits is left out as a whole, of one with
    a row in the training split everything but that row is used.
    """
    data = json.loads((package / "dataset.json").read_text(encoding="utf-8"))
    vocabulary = allowed_words()
    rows = make_sample.sample(data, vocabulary)
    hub = {row["prompt_id"] for part in rows.values() for row in part}
    for conversation_id, conversation in data.items():
        merged = make_sample.turns(conversation)
        taken = {
            text
            for piece in make_sample.pieces(merged, vocabulary)
            if make_sample.row(piece)["prompt_id"] in hub
            for text in piece
        }
        if taken and make_sample.split_of(conversation_id) != "train_sft":
            continue
        run: list[Turn] = []
        for text in merged:
            made = None if text in taken else turn(text, vocabulary)
            if made:
                run.append(made)
                continue
            if len(run) > 1:
                yield conversation_id, run
            run = []
        if len(run) > 1:
            yield conversation_id, run


def questions(package: Path) -> Iterator[list[Turn]]:
    """chatterbot-corpus: question and answer, each pair once."""
    import yaml

    vocabulary = allowed_words()
    seen: set[tuple[Turn, ...]] = set()
    for topic in TOPICS:
        path = package / "data" / "english" / f"{topic}.yml"
        if not path.is_file():
            continue
        for texts in yaml.safe_load(path.read_text(encoding="utf-8"))["conversations"]:
            made = [found for text in texts if (found := turn(str(text), vocabulary))]
            if len(made) == len(texts) > 1 and tuple(made) not in seen:
                seen.add(tuple(made))
                yield made
