"""Word problems with numbers up to 20, at most two steps, worked out and closed by `#### n`.

A story is an opening, one or two events and a question. Names, things, openings, questions and events
marked as held out, and number triples in the held-out class, occur in the test suite only.
"""

from dataclasses import dataclass, replace
from random import Random

from words import invented

TRAIN_NAMES = ["Tom", "Anna", "Ben", "Lucy", "Sam", "Mia", "Max", "Emma", "Leo", "Nina", "Paul", "Sara", "Jack", "Rosa",
               "Ali", "Lena", "Omar", "Kate", "Ivan", "Ella", "Hugo", "Ruth", "Carl", "Maria", "Peter", "Julia"]
TEST_NAMES = ["Bella", "Karl", "Milan", "Rita", "Lara", "Simon", "Tina", "Marco", "Alina", "Jonas"]
TRAIN_THINGS = ["apples", "books", "pens", "cards", "stamps", "coins", "eggs", "stones", "shells", "toys", "cakes",
                "flowers", "balls", "oranges", "stickers", "marbles", "plums", "buttons", "pears", "keys"]
TEST_THINGS = ["cookies", "nuts", "lemons", "photos", "candles", "tickets", "dolls", "roses"]

OPENINGS = ["{name} has {a} {things}.", "There are {a} {things} on the table of {name}.", "{name} owns {a} {things}.",
            "In the morning {name} had {a} {things}.", "{name} starts with {a} {things}.",
            "{name} keeps {a} {things} in a box.", "A bag of {name} holds {a} {things}."]
TEST_OPENINGS = ["In a box {name} keeps {a} {things}.", "{name} has a bag with {a} {things}.",
                 "This morning there are {a} {things} on the table of {name}."]

GAINS = ["{name} buys {b} more {things}.", "A friend gives {name} {b} {things}.", "{name} finds {b} more {things}.",
         "Then {name} gets {b} {things} from a friend.", "{name} wins {b} {things}.", "{name} adds {b} more {things}.",
         "Later {name} picks {b} {things}.", "The teacher gives {name} {b} more {things}."]
TEST_GAINS = ["Later a teacher gives {name} {b} more {things}.", "Then {name} buys {b} {things}.",
              "{name} gets {b} more {things} from the teacher."]

LOSSES = ["{name} loses {b} {things}.", "{name} gives {b} {things} to a friend.", "Then {name} sells {b} {things}.",
          "{name} breaks {b} of the {things}.", "{name} gives away {b} {things}.", "A friend takes {b} of the {things}.",
          "Later {name} throws away {b} {things}.", "{name} uses {b} of the {things}."]
TEST_LOSSES = ["Then {name} loses {b} of the {things}.", "Later {name} gives {b} {things} to the teacher.",
               "{name} sells {b} of the {things}."]

QUESTIONS = ["How many {things} does {name} have now?", "How many {things} are there in the end?",
             "What is the number of {things} now?", "How many {things} does {name} have in the end?",
             "Find the number of {things} at the end."]
TEST_QUESTIONS = ["What is the number of {things} in the end?", "How many {things} are there now?",
                  "Find how many {things} {name} has now."]

PACKS = ["{name} has {a} boxes with {b} {things} in each box.", "There are {a} bags, each with {b} {things}.",
         "{name} buys {a} packs of {b} {things}.", "{name} fills {a} boxes and puts {b} {things} in each."]
TEST_PACKS = ["{name} buys {a} boxes with {b} {things} in each.", "There are {a} packs and each has {b} {things}."]


@dataclass(frozen=True)
class Wording:
    """The parts from which a split builds its stories."""

    names: list[str]
    things: list[str]
    openings: list[str]
    gains: list[str]
    losses: list[str]
    questions: list[str]
    packs: list[str]
    held_out_numbers: bool
    invented_names: float = 0.0


TRAIN = Wording(TRAIN_NAMES, TRAIN_THINGS, OPENINGS, GAINS, LOSSES, QUESTIONS, PACKS, False)
VARIED = replace(
    TRAIN, invented_names=0.4,
    openings=[*OPENINGS, "There are {a} {things} in the room of {name}.", "Today {name} has {a} {things}."],
    gains=[*GAINS, "A neighbour gives {name} {b} {things}.", "Then a neighbour gives {name} {b} more {things}.",
           "{name} gets {b} {things} as a gift."],
    losses=[*LOSSES, "{name} gives {b} {things} to a neighbour.", "Then {name} gives {b} of the {things} to a child.",
            "Later {name} loses {b} {things}."],
    questions=[*QUESTIONS, "Tell me how many {things} {name} has."],
    packs=[*PACKS, "There are {a} boxes and each holds {b} {things}."])
TEST = Wording(TEST_NAMES, TEST_THINGS, TEST_OPENINGS, TEST_GAINS, TEST_LOSSES, TEST_QUESTIONS, TEST_PACKS, True)


def held_out(numbers: list[int]) -> bool:
    """True for the fifth of all number combinations that only the suite uses."""
    code = 0
    for number in numbers:
        code = code * 31 + number
    return code % 5 == 2


def problem(rng: Random, wording: Wording = TRAIN) -> tuple[str, str]:
    """A story and its worked answer, drawn until its numbers belong to the split."""
    while True:
        build = _packs if rng.random() < 0.25 else _changes
        numbers, question, answer = build(rng, wording)
        if held_out(numbers) == wording.held_out_numbers:
            return question, answer


def plain_prompt(question: str) -> str:
    """The plain form of a problem, up to the place where the answer begins."""
    return f"Question: {question}\nAnswer:"


def problem_plain(rng: Random) -> tuple[str, str]:
    """A problem in plain form."""
    question, answer = problem(rng)
    return plain_prompt(question), " " + answer


def passage(rng: Random) -> str:
    """Running text: a story told with its outcome, no question."""
    _, question, answer = _changes(rng, TRAIN, max_steps=1)
    story = question.rsplit(". ", 1)[0] + "."
    steps = answer.split("\n")[0]
    return f"{story} So we have {steps}"


def drill(rng: Random) -> tuple[str, str]:
    """A bare sum, so that arithmetic is not learnt from stories alone."""
    sign = rng.choice("++--*")
    a, b, result = _operands(rng, sign)
    equation = f"{a} {sign} {b} = {result}"
    return f"What is {a} {sign} {b}?", f"{equation}\n#### {result}"


def varied_problem(rng: Random) -> tuple[str, str]:
    """A problem in more wordings and with invented names, now and then a chain of bare sums."""
    return chain(rng) if rng.random() < 0.2 else problem(rng, VARIED)


def varied_plain(rng: Random) -> tuple[str, str]:
    """The same in plain form."""
    question, answer = varied_problem(rng)
    return plain_prompt(question), " " + answer


def chain(rng: Random) -> tuple[str, str]:
    """Sums that go on from each other's result: arithmetic in plenty."""
    value = rng.randint(4, 20)
    asked, steps = str(value), []
    for _ in range(rng.randint(2, 5)):
        gain = (rng.random() < 0.5 and value < 45) or value < 4
        number = rng.randint(2, 20) if gain else rng.randint(2, min(20, value - 1))
        after = value + number if gain else value - number
        sign = "+" if gain else "-"
        asked += f" {sign} {number}"
        steps.append(f"{value} {sign} {number} = {after}.")
        value = after
    return f"What is {asked}?", " ".join(steps) + f"\n#### {value}"


def _operands(rng: Random, sign: str) -> tuple[int, int, int]:
    if sign == "*":
        a, b = rng.randint(2, 6), rng.randint(2, 6)
        return a, b, a * b
    if sign == "+":
        a, b = rng.randint(2, 20), rng.randint(2, 20)
        return a, b, a + b
    a = rng.randint(4, 40)
    b = rng.randint(2, min(20, a - 1))
    return a, b, a - b


def _step(rng: Random, wording: Wording, value: int) -> tuple[int, str, str, int]:
    """One change of `value`: (number, sentence, sign, new value)."""
    gain = rng.random() < 0.5 or value < 4
    number = rng.randint(2, 20) if gain else rng.randint(2, min(20, value - 1))
    if gain:
        return number, rng.choice(wording.gains), "+", value + number
    return number, rng.choice(wording.losses), "-", value - number


def _name(rng: Random, wording: Wording) -> str:
    """Who the story is about; in the varied wording often an invented name."""
    if wording.invented_names and rng.random() < wording.invented_names:
        return invented(rng).capitalize()
    return rng.choice(wording.names)


def _thing(rng: Random, wording: Wording) -> str:
    """What is counted; in training now and then an invented thing."""
    if not wording.held_out_numbers and rng.random() < 0.2:
        return invented(rng) + "s"
    return rng.choice(wording.things)


def _changes(rng: Random, wording: Wording, max_steps: int = 2) -> tuple[list[int], str, str]:
    """A number of things that grows and shrinks in one or two steps."""
    name, things = _name(rng, wording), _thing(rng, wording)
    value = rng.randint(4, 20)
    numbers = [value]
    sentences = [rng.choice(wording.openings).format(name=name, things=things, a=value)]
    return _finish(rng, wording, name, things, value, numbers, sentences, [], rng.randint(1, max_steps))


def _packs(rng: Random, wording: Wording) -> tuple[list[int], str, str]:
    """Equal packs, then at most one change."""
    name, things = _name(rng, wording), _thing(rng, wording)
    a, b = rng.randint(2, 6), rng.randint(2, 6)
    sentences = [rng.choice(wording.packs).format(name=name, things=things, a=a, b=b)]
    steps = [f"{a} * {b} = {a * b}"]
    return _finish(rng, wording, name, things, a * b, [a, b], sentences, steps, rng.randint(0, 1))


def _finish(rng, wording, name, things, value, numbers, sentences, steps, count) -> tuple[list[int], str, str]:
    """Adds `count` changes, the question and the worked answer."""
    for _ in range(count):
        number, sentence, sign, after = _step(rng, wording, value)
        sentences.append(sentence.format(name=name, things=things, b=number))
        steps.append(f"{value} {sign} {number} = {after}")
        numbers.append(number)
        value = after
    sentences.append(rng.choice(wording.questions).format(name=name, things=things))
    worked = " ".join(f"{step} {things}." for step in steps)
    return numbers, " ".join(sentences), f"{worked}\n#### {value}"


def test_items(rng: Random, count: int, taken: set[str]) -> list[dict]:
    """Test items from held-out parts, without repeats and without the questions that are taken."""
    items, seen = [], set(taken)
    while len(items) < count:
        question, answer = problem(rng, TEST)
        if question not in seen:
            seen.add(question)
            items.append({"id": f"math-{len(items)}", "question": question, "answer": answer})
    return items
