"""The grammar shared by both encyclopedias: open questions, four choices, running text.

An exercise is a pair (prompt, answer). In chat the prompt is the user's message and the answer the
assistant's; in plain form they follow each other directly and the text ends with `<|endoftext|>`.
"""

from dataclasses import dataclass
from random import Random
from zlib import crc32

from words import invented

LETTERS = "ABCD"


@dataclass(frozen=True)
class Relation:
    """Facts of one kind. `phrases` are noun phrases with a slot {x}; `facts` maps x to the answer."""

    subject: str
    phrases: list[str]
    key: str
    facts: dict[str, str]


@dataclass(frozen=True)
class Encyclopedia:
    """A set of relations with the wordings in which one language asks for them."""

    domain: str
    relations: list[Relation]
    train_frames: list[str]
    test_frames: list[str]
    statements: list[str]
    sentence_request: str
    sentence: str
    short: str
    joiner: str
    question_label: str
    answer_label: str
    answer_gap: str
    choice_answer: str
    pick: list[str]
    greetings: list[str]
    words: list[str]
    repeat: str
    small_talk: list[tuple[str, str]]

    def all_facts(self) -> list[tuple[Relation, str]]:
        """Every fact as (relation, x), in table order."""
        return [(relation, x) for relation in self.relations for x in relation.facts]

    def fact(self, rng: Random) -> tuple[Relation, str]:
        """A fact drawn evenly over all facts."""
        facts = self.all_facts()
        return facts[rng.randrange(len(facts))]

    def ask(self, rng: Random, relation: Relation, x: str, frames: list[str]) -> str:
        """A question for one fact in a random wording."""
        phrase = rng.choice(relation.phrases).format(x=x)
        return capital(rng.choice(frames).format(np=phrase))

    def open_chat(self, rng: Random) -> tuple[str, str]:
        """An open question; with a request for a full sentence the answer is one. Now and then small talk."""
        if rng.random() < 0.03:
            return rng.choice(self.small_talk)
        relation, x = self.fact(rng)
        question = rng.choice(self.greetings) + self.ask(rng, relation, x, self.train_frames)
        answer = relation.facts[x]
        if rng.random() < 0.15:
            phrase = relation.phrases[0].format(x=x)
            return question + self.sentence_request, self.sentence.format(np=phrase, Np=capital(phrase), a=answer)
        return question, self.short.format(a=answer)

    def open_plain(self, rng: Random) -> tuple[str, str]:
        """An open question in plain form: `Question: ... Answer:`."""
        relation, x = self.fact(rng)
        question = self.ask(rng, relation, x, self.train_frames)
        return self.plain_prompt(question), self.answer_gap + relation.facts[x]

    def choices(self, rng: Random, relation: Relation, x: str, test: bool = False) -> tuple[list[str], int]:
        """Four different answers of the same relation in random order, and the place of the right one."""
        right = relation.facts[x]
        others = sorted(set(relation.facts.values()) - {right})
        while True:
            options = rng.sample(others, 3) + [right]
            rng.shuffle(options)
            if allowed(options, test):
                return options, options.index(right)

    def choice_chat(self, rng: Random) -> tuple[str, str]:
        """A four-choice question; the answer names the text and then the letter: `Answer: Paris (B)`."""
        relation, x = self.fact(rng)
        question = self.ask(rng, relation, x, self.train_frames)
        options, right = self.choices(rng, relation, x)
        return with_choices(question, options), self.choice_answer.format(a=options[right], letter=LETTERS[right])

    def choice_letter(self, rng: Random) -> tuple[str, str]:
        """A four-choice question in plain form, answered by the letter alone."""
        relation, x = self.fact(rng)
        question = self.ask(rng, relation, x, self.train_frames)
        options, right = self.choices(rng, relation, x)
        return self.plain_prompt(with_choices(question, options)), self.answer_gap + LETTERS[right]

    def some_answers(self, rng: Random) -> list[str]:
        """The answers of two relations."""
        return sorted({answer for relation in rng.sample(self.relations, 2) for answer in relation.facts.values()})

    def four_lines(self, rng: Random, pool: list[str]) -> list[str]:
        """Four texts of a pool in an order that training may have."""
        while True:
            options = rng.sample(pool, 4)
            if allowed(options, test=False):
                return options

    def match(self, rng: Random) -> tuple[str, list[str], int]:
        """An exercise in finding a text among four lines: answers of two relations or plain words."""
        options = self.four_lines(rng, self.some_answers(rng) if rng.random() < 0.7 else self.words)
        right = rng.randrange(4)
        return with_choices(rng.choice(self.pick).format(a=options[right]), options), options, right

    def match_chat(self, rng: Random) -> tuple[str, str]:
        """The exercise in chat form: teaches to find the letter of a text."""
        question, options, right = self.match(rng)
        return question, self.choice_answer.format(a=options[right], letter=LETTERS[right])

    def many_chat(self, rng: Random) -> tuple[str, str]:
        """Three texts to be found among four lines: three letters for one list."""
        options = self.four_lines(rng, self.words if rng.random() < 0.3 else self.some_answers(rng))
        wanted = rng.sample(range(4), 3)
        question = rng.choice(self.pick).format(a=", ".join(options[i] for i in wanted))
        answer = ", ".join(f"{options[i]} ({LETTERS[i]})" for i in wanted)
        return with_choices(question, options), f"{self.answer_label} {answer}"

    def repeat_chat(self, rng: Random) -> tuple[str, str]:
        """Words to be repeated, some of them invented: teaches copying."""
        listed = [invented(rng) if rng.random() < 0.3 else rng.choice(self.words) for _ in range(rng.randint(4, 12))]
        text = " ".join(listed)
        return self.repeat.format(a=text), text

    def recite_plain(self, rng: Random) -> tuple[str, str]:
        """A list of words, then the same list: almost nothing but copying."""
        listed = [invented(rng) if rng.random() < 0.2 else rng.choice(self.words) for _ in range(rng.randint(8, 30))]
        return "# " + " ".join(listed) + "\n#", " " + " ".join(listed)

    def label_plain(self, rng: Random) -> tuple[str, str]:
        """Four lines, then the four texts in another order with their letters: letters in plenty."""
        options = self.four_lines(rng, self.words if rng.random() < 0.4 else self.some_answers(rng))
        order = rng.sample(range(4), 4)
        return with_choices("#", options) + "\n#", " " + ", ".join(f"{options[i]} ({LETTERS[i]})" for i in order)

    def match_letter(self, rng: Random) -> tuple[str, str]:
        """The exercise in plain form, answered by the letter alone."""
        question, _, right = self.match(rng)
        return self.plain_prompt(question), self.answer_gap + LETTERS[right]

    def worked_question(self, rng: Random) -> tuple[str, list[str], int]:
        """A four-choice question, now and then a text to be found, with its options and the place of the right one."""
        if rng.random() < 0.25:
            return self.match(rng)
        relation, x = self.fact(rng)
        options, right = self.choices(rng, relation, x)
        return with_choices(self.ask(rng, relation, x, self.train_frames), options), options, right

    def walk_chat(self, rng: Random) -> tuple[str, str]:
        """Answered by the text, the lines up to it, and the letter."""
        question, options, right = self.worked_question(rng)
        return question, self.answer_label + " " + walked(options, right)

    def walk_plain(self, rng: Random) -> tuple[str, str]:
        """The same in plain form."""
        question, options, right = self.worked_question(rng)
        return self.plain_prompt(question), " " + walked(options, right)

    def listed(self, options: list[str], right: int) -> str:
        """The worked answer: every line with its letter behind, then the right text, which the letter follows.

        To find the letter in front of a text is hard for a small model; to repeat what followed a text is easy.
        """
        lines = [f"{letter}. {option} {letter}" for letter, option in zip(LETTERS, options)]
        return "\n".join([*lines, f"{self.answer_label} {options[right]} {LETTERS[right]}"])

    def list_chat(self, rng: Random) -> tuple[str, str]:
        """A four-choice question with the worked answer."""
        question, options, right = self.worked_question(rng)
        return question, self.listed(options, right)

    def list_plain(self, rng: Random) -> tuple[str, str]:
        """The same as plain text."""
        question, options, right = self.worked_question(rng)
        return f"{self.question_label}{question}\n", self.listed(options, right)

    def passage(self, rng: Random) -> str:
        """Running text: several facts of one relation, each as a statement."""
        relation = rng.choice(self.relations)
        lines = []
        for x in rng.sample(sorted(relation.facts), min(4, len(relation.facts))):
            phrase = rng.choice(relation.phrases).format(x=x)
            line = rng.choice(self.statements).format(np=phrase, Np=capital(phrase), a=relation.facts[x])
            lines.append(capital(line))
        return self.joiner.join(lines)

    def plain_prompt(self, question: str) -> str:
        """The plain form of a question, up to the place where the answer begins."""
        return f"{self.question_label}{question}\n{self.answer_label}"

    def test_items(self, rng: Random, count: int, taken: set[str]) -> list[dict]:
        """Four-choice test items: evenly over the facts, in held-out wordings only, without the questions that are taken."""
        facts = self.all_facts()
        rng.shuffle(facts)
        items = []
        for number in range(count):
            relation, x = facts[number % len(facts)]
            question = self.ask(rng, relation, x, self.test_frames)
            while question in taken:
                question = self.ask(rng, relation, x, self.test_frames)
            options, right = self.choices(rng, relation, x, test=True)
            items.append({"id": f"{self.domain}-{number}", "subject": relation.subject, "question": question,
                          "choices": options, "answer": right})
        return items


def allowed(options: list[str], test: bool) -> bool:
    """Whether a list of options belongs to the split: a third of all neighbours is kept for the suites.

    In a test item every pair of neighbours is a reserved one, in a training text none is.
    """
    pairs = zip(options, options[1:])
    return all((crc32(f"{first}>{second}".encode()) % 3 == 0) == test for first, second in pairs)


def with_choices(question: str, options: list[str]) -> str:
    """A question followed by its four lines `A. ...` to `D. ...`."""
    return question + "".join(f"\n{letter}. {option}" for letter, option in zip(LETTERS, options))


def walked(options: list[str], right: int) -> str:
    """The right text, the lines up to the right one, and its letter: `Rome`, `A. Oslo`, `B. Rome (B)`."""
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options[:right + 1])]
    return "\n".join([options[right], *lines]) + f" ({LETTERS[right]})"


def capital(text: str) -> str:
    """The text with a capital first letter; the rest untouched."""
    return text[:1].upper() + text[1:]
