"""Made-up facts and questions about them: the data that the embedded model is trained and tested on.

Every name is a string of random letters, so a question can be answered only from the facts before it.
A sample is a prompt, the answer's text with the punctuation that follows it, and the token that ends it.
The same seed gives the same samples.
"""

import json
import random
import re
import zlib

RELATIONS = [
    "capital", "currency", "river", "founder", "color", "animal", "queen", "king", "language", "mountain",
    "port", "flower", "song", "drink", "lake", "castle", "poet", "market", "forest", "festival",
]

END_OF_TEXT = "<|endoftext|>"
IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
THINK = "<think>"
END_THINK = "</think>"
NO_THOUGHT = f"{THINK}\n\n{END_THINK}\n\n"

FORMS = {"plain": 28, "qa": 14, "cloze": 14, "tell": 8, "chat": 10, "chat_direct": 10}
HARD_FORMS = {"reverse": 5, "two_hops": 11}

STYLES = ["of", "of", "of", "of", "of", "of", "of", "of", "has", "in"]

VOWELS = "aeiou"
CONSONANTS = "bcdfghjklmnpqrstvwxyz"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
CLUSTERS = ["br", "bl", "ch", "cr", "dr", "fl", "fr", "gl", "gr", "kl", "kr", "pl", "pr", "sh", "sk", "sl", "sn", "sp",
            "st", "str", "th", "tr", "vr", "zw", "qu", "wh", "ph", "kh"]

ADJECTIVES = ["old", "small", "quiet", "bright", "cold", "heavy", "narrow", "green", "tired", "clever", "broken",
              "early", "distant", "warm", "hungry", "patient", "round", "wooden", "empty", "famous"]
NOUNS = ["baker", "ship", "road", "teacher", "garden", "bridge", "farmer", "window", "letter", "horse", "lamp",
         "village", "doctor", "boat", "tower", "clock", "kitchen", "wagon", "shepherd", "book", "stone", "winter",
         "fisherman", "door", "orchard"]
VERBS = ["watched", "passed", "followed", "remembered", "painted", "crossed", "carried", "found", "missed", "counted",
         "left", "heard", "touched", "visited", "repaired"]
ENDS = ["in the morning", "after dinner", "before the storm", "near the wall", "every summer", "without a word",
        "at noon", "for many years", "on the hill", "with great care", "last night", "in silence"]
ODD = [
    "It's late, and they don't mind.", "I'm sure we'll see; you've been there, and she'd agree.",
    "\u201cNo\u201d, she said \u2014 and left.", "The caf\u00e9 serves cr\u00e8me br\u00fbl\u00e9e.",
    "All done \U0001f600\U0001f680!",
    "int main(void) { return 0; }", "for (i = 0; i < 10; i++) sum += x[i];", "a = b * (c - d) / 2;",
]
SCRIPTS = [
    "\u4eca\u5929\u6c14\u5f88\u597d\u4eba\u5927\u4e2d\u56fd\u5c71\u6c34\u65e5", "\u3042\u3044\u304b\u3057\u3059\u3067\u306e\u306f\u308b\u6771\u4eac\u96e8",
    "\u0430\u0435\u0438\u043e\u0443\u043d\u0442\u0440\u0441\u043a\u043b\u043c", "\u03b1\u03b5\u03b9\u03bf\u03c3\u03c4\u03bd\u03c1\u03bb\u03ac", "\uc548\ub155\ud558\uc138\uc694",
    "a\u00e9\u00e8\u00fc\u00f6\u00e4\u00f1r\u00e7st", "\U0001f600\U0001f680\U0001f389\u2764\ufe0f\U0001f44d",
]
SYSTEMS = ["You are a helpful assistant.", "Answer with one name.", "Use the facts."]

TEMPLATE_WORDS = {
    "The", "What", "In", "Question", "Answer", "Tell", "Which", "Facts", "You", "Use", "Code", "About", "After", "Before",
    "Near", "Sign", "Every", "Without", "At", "For", "On", "With", "Last",
}


def capitalised(word):
    return word[0].upper() + word[1:]


class World:
    """Draws samples. `names` (as beginnings) and `sentences` are never drawn.

    One name in 64 is kept for testing: a world of kind "train" draws none of those, one of kind "test" nothing else.
    """

    def __init__(self, seed, names=(), sentences=(), kind="train"):
        self.random = random.Random(seed)
        self.test = kind == "test"
        self.names = tuple(names)
        self.sentences = frozenset(sentences)

    def _letters(self):
        r = self.random
        if r.random() < 0.35:
            return "".join(r.choices(LETTERS, k=r.randint(3, 12)))
        length = r.randint(3, 12)
        out = ""
        vowel = r.random() < 0.25
        while len(out) < length:
            if vowel:
                out += r.choice(VOWELS) if r.random() < 0.85 else r.choice(VOWELS) + r.choice(VOWELS)
            elif r.random() < 0.2:
                out += r.choice(CLUSTERS)
            else:
                out += r.choice(CONSONANTS) if r.random() < 0.8 else r.choice(CONSONANTS) + r.choice(CONSONANTS)
            vowel = not vowel
        return out[:length]

    def name(self, near=None):
        """A new name; with `near`, one that begins like it."""
        r = self.random
        while True:
            if near is not None and len(near) > 4:
                made = near[: r.randint(2, len(near) - 2)] + "".join(r.choices(LETTERS, k=r.randint(2, 4)))
            else:
                made = capitalised(self._letters())
            if (zlib.crc32(made.encode()) % 64 == 0) != self.test:
                continue
            if made != near and made not in TEMPLATE_WORDS and not made.startswith(self.names or "\0"):
                return made

    def distinct(self, count):
        out = []
        while len(out) < count:
            near = self.random.choice(out) if out and self.random.random() < 0.04 else None
            made = self.name(near)
            if made not in out:
                out.append(made)
        return out

    def filler(self):
        r = self.random
        while True:
            kind = r.random()
            if kind < 0.62:
                text = (f"The {r.choice(ADJECTIVES)} {r.choice(NOUNS)} {r.choice(VERBS)} the {r.choice(NOUNS)}"
                        f"{' ' + r.choice(ENDS) if r.random() < 0.6 else ''}.")
            elif kind < 0.76:
                count = r.randint(2, 9999)
                text = f"{capitalised(r.choice(ENDS))}, {count} {r.choice(NOUNS)}s {r.choice(VERBS)} a {r.choice(NOUNS)}."
            elif kind < 0.86:
                text = f"About {r.randint(2, 99)}.{r.randint(0, 99)} of the {r.choice(NOUNS)}s were {r.choice(ADJECTIVES)}."
            elif kind < 0.91:
                text = r.choice(ODD)
            elif kind < 0.95:
                text = "Sign " + "".join(r.choices(r.choice(SCRIPTS), k=r.randint(1, 6))) + " was read."
            else:
                noise = "".join(chr(r.randint(32, 126)) for _ in range(r.randint(3, 14))).strip()
                text = f"Code {noise or '#'} was {r.choice(ADJECTIVES)}."
            if text not in self.sentences:
                return text

    def fact(self, style, relation, land, value):
        if style == "has":
            return f"{land} has the {relation} {value}."
        if style == "in":
            return f"In {land}, the {relation} is {value}."
        return f"The {relation} of {land} is {value}."

    def sample(self, form=None, count=None, style=None):
        """One sample: dict with prompt, answer, end, form, facts (their number)."""
        r = self.random
        every = FORMS | HARD_FORMS
        form = form or r.choices(list(every), every.values())[0]
        if form == "two_hops":
            facts, asked, question, answer = self._chain(count or r.randint(2, 6))
        else:
            facts, asked = self._facts(count or r.randint(1, 6), form)
            relation, land, value = asked
            question, answer = None, value
            if form == "reverse":
                question, answer = f"Which land has the {relation} {value}?", land
        first = facts.index(asked)
        order = list(range(len(facts)))
        r.shuffle(order)
        if r.random() < 0.1:
            order.remove(first)
            order.insert(0, first)
        mixed = style is None and r.random() < 0.15
        style = style or r.choice(STYLES)
        lines = [self.fact(r.choice(STYLES) if mixed else style, *facts[i]) for i in order]
        draw = r.random()
        fillers = 0 if draw < 0.55 else r.randint(1, 4) if draw < 0.88 else r.randint(5, 14)
        for _ in range(fillers):
            lines.insert(r.randint(1 if draw >= 0.94 else 0, len(lines)), self.filler())
        gap = "\n" if r.random() < 0.15 else " "
        context = ("Facts:" + gap if r.random() < 0.12 else "") + gap.join(lines)

        relation, land, value = asked
        question = question or f"What is the {relation} of {land}?"
        end = END_OF_TEXT
        answer = f"{answer}."
        if form == "qa":
            prompt = f"{context}{gap}Question: {question}{gap}Answer:"
        elif form == "cloze":
            prompt = f"{context}{gap}The {relation} of {land} is"
        elif form == "tell":
            prompt = f"{context}{gap}Tell me the {relation} of {land}."
        elif form in ("chat", "chat_direct"):
            system = f"{IM_START}system\n{r.choice(SYSTEMS)}{IM_END}\n" if r.random() < 0.25 else ""
            thought = NO_THOUGHT if form == "chat_direct" else ""
            prompt = f"{system}{IM_START}user\n{context}{gap}{question}{IM_END}\n{IM_START}assistant\n{thought}"
            end = IM_END
        else:
            prompt = f"{context}{gap}{question}"
        if not form.startswith("chat"):
            answer = " " + answer
        return {"prompt": prompt, "answer": answer, "end": end, "form": form, "facts": len(facts)}

    def _facts(self, count, form):
        """Facts about few lands and few relations, so that each distracts from the others; one is asked for."""
        r = self.random
        if count > 1 and form != "reverse" and r.random() < 0.18:
            return self._against_the_crowd(count)
        number = r.randint(1, count)
        lands = self.distinct(number)
        least = -(-count // number)
        relations = r.sample(RELATIONS, r.randint(least, max(least, count)))
        pairs = r.sample([(relation, land) for relation in relations for land in lands], count)
        values = self.distinct(count)
        if form != "reverse" and count > 2 and r.random() < 0.15:
            values[r.randrange(count)] = values[r.randrange(count)]
        facts = [(relation, land, value) for (relation, land), value in zip(pairs, values)]
        return facts, r.choice(facts)

    def _against_the_crowd(self, count):
        """All facts but the asked one give the same value."""
        r = self.random
        crowd, value = self.distinct(2)
        if r.random() < 0.7:
            relation = r.choice(RELATIONS)
            pairs = [(relation, land) for land in self.distinct(count)]
        else:
            land = self.name()
            pairs = [(relation, land) for relation in r.sample(RELATIONS, count)]
        facts = [(relation, land, crowd) for relation, land in pairs]
        asked = (*pairs[0], value)
        facts[0] = asked
        return facts, asked

    def _chain(self, count):
        """What is the B of the A of X?  A of X is Y, B of Y is Z."""
        r = self.random
        count = max(count, 2)
        land, middle, value, *rest = self.distinct(3 + 2 * count)
        one, two, *others = r.sample(RELATIONS, 6)
        facts = [(two, middle, value), (one, land, middle)]
        free = [(one, middle), (two, land), (others[0], land), (others[1], middle)]
        r.shuffle(free)
        while len(facts) < count:
            if r.random() < 0.5 and free:
                facts.append((*free.pop(), rest.pop()))
            else:
                facts.append((r.choice([one, two, others[2]]), rest.pop(), rest.pop()))
        return facts, facts[0], f"What is the {two} of the {one} of {land}?", value


def sentences_of(text):
    """The sentences of three words or more in a text."""
    parts = (part.strip() for part in re.split(r"(?<=[.?!])\s+|\n", text))
    return [part for part in parts if len(part.split()) >= 3]


def forbidden(paths):
    """Names and sentences of the prompt files `paths`: nothing in the training data may hold one of them."""
    texts = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        for prompt in content["prompts"]:
            for part in (prompt, prompt.get("twin", {})):
                texts += [part[key] for key in ("prompt", "text", "answer") if key in part]
    names, sentences = set(), set()
    for text in texts:
        for word in re.findall(r"\b[A-Z][a-z]+\b", text):
            if word not in TEMPLATE_WORDS:
                names.add(word)
        sentences.update(sentences_of(text))
    return sorted(names), sorted(sentences)


def found_in(texts, names, sentences):
    """The forbidden names and sentences that occur in the texts."""
    joined = "\0".join(texts)
    return [item for item in (*names, *sentences) if item in joined]
