"""Short Python functions from a signature and a docstring, with tests.

A family fixes the arguments, the body and a few inputs; its docstrings come in several wordings, the last
one held out. Function names are built from words; names of the suite use held-out words.
"""

from dataclasses import dataclass, field
from random import Random

from words import invented


@dataclass(frozen=True)
class Family:
    """One kind of function. {k} is a small constant, {c} a letter; `docs[-1]` is the held-out wording."""

    arguments: str
    body: str
    docs: list[str]
    inputs: list[str]
    stems: list[str] = field(default_factory=lambda: ["work"])


NUMBERS = ["3", "10", "0"]
LISTS = ["[1, 2, 3]", "[7, 4, 9, 2]", "[5, 5, 12]"]
WORDS = ["'abc'", "'hello'", "'banana'"]
WORD_LISTS = ["['a', 'bc']", "['sun', 'moon', 'sky']", "['one', 'three']"]

FAMILIES = [
    Family("x", "x + {k}", [
        "Add {k} to x.", "Return x plus {k}.",
        "Give the number x with {k} added.", "Return the number x plus {k}."],
        NUMBERS, ["add", "plus"]),
    Family("x", "x - {k}", [
        "Subtract {k} from x.", "Return x minus {k}.",
        "Take {k} away from x.", "Return the number x minus {k}."],
        NUMBERS, ["subtract", "minus"]),
    Family("x", "x * {k}", [
        "Multiply x by {k}.", "Return x times {k}.",
        "Give {k} times the number x.", "Return the number x times {k}."],
        NUMBERS, ["multiply", "times"]),
    Family("x", "x * x", [
        "Return the square of x.", "Multiply x by itself.",
        "Give x squared.", "Return the number x squared."],
        NUMBERS, ["square"]),
    Family("x", "x % 2 == 0", [
        "Return True if x is even.", "Check whether x is even.",
        "Tell if the number x is even.", "Check if the number x is even."],
        NUMBERS, ["even"]),
    Family("x", "x % 2 == 1", [
        "Return True if x is odd.", "Check whether x is odd.",
        "Tell if the number x is odd.", "Check if the number x is odd."],
        NUMBERS, ["odd"]),
    Family("x", "x > {k}", [
        "Return True if x is greater than {k}.", "Check whether x is more than {k}.",
        "Tell if x is larger than {k}.", "Check if the number x is greater than {k}."],
        NUMBERS, ["greater", "above"]),
    Family("a, b", "a + b", [
        "Return the sum of a and b.", "Add a and b.",
        "Give a plus b.", "Give the sum of a and b."],
        ["1, 2", "10, 5", "0, 7"], ["sum", "add"]),
    Family("a, b", "a * b", [
        "Return the product of a and b.", "Multiply a by b.",
        "Give a times b.", "Give the product of a and b."],
        ["1, 2", "10, 5", "3, 7"], ["product", "multiply"]),
    Family("a, b", "max(a, b)", [
        "Return the larger of a and b.", "Give the maximum of a and b.",
        "Return the bigger of the numbers a and b.", "Return the maximum of the numbers a and b."],
        ["1, 2", "10, 5", "3, 7"], ["larger", "max"]),
    Family("a, b", "min(a, b)", [
        "Return the smaller of a and b.", "Give the minimum of a and b.",
        "Return the lower of the numbers a and b.", "Return the minimum of the numbers a and b."],
        ["1, 2", "10, 5", "3, 7"], ["smaller", "min"]),
    Family("a, b", "abs(a - b)", [
        "Return the distance between a and b.", "Give the absolute difference of a and b.",
        "Find how far a is from b.", "Find the distance between the numbers a and b."],
        ["1, 2", "10, 5", "3, 7"], ["distance", "difference"]),
    Family("items", "sum(items)", [
        "Return the sum of the list.", "Add up all the items.",
        "Give the total of the list.", "Give the sum of all the items in the list."],
        LISTS, ["sum", "total"]),
    Family("items", "max(items)", [
        "Return the largest item of the list.", "Find the maximum of the items.",
        "Give the biggest item.", "Find the largest item in the list."],
        LISTS, ["largest", "max"]),
    Family("items", "min(items)", [
        "Return the smallest item of the list.", "Find the minimum of the items.",
        "Give the lowest item.", "Find the smallest item in the list."],
        LISTS, ["smallest", "min"]),
    Family("items", "len(items)", [
        "Return the length of the list.", "Count the items.",
        "Give the number of items in the list.", "Return the number of items in the list."],
        LISTS, ["length", "count"]),
    Family("items", "items[0]", [
        "Return the first item of the list.", "Give the first item.",
        "Get the item at the start of the list.", "Give the first item in the list."],
        LISTS, ["first"]),
    Family("items", "items[-1]", [
        "Return the last item of the list.", "Give the last item.",
        "Get the item at the end of the list.", "Give the last item in the list."],
        LISTS, ["last"]),
    Family("items", "items[::-1]", [
        "Return the list in reverse order.", "Reverse the list.",
        "Turn the items around.", "Give the items in reverse order."],
        LISTS, ["reverse"]),
    Family("items", "sorted(items)", [
        "Return the items in sorted order.", "Sort the list.",
        "Put the items in rising order.", "Return the list in sorted order."],
        LISTS, ["sort"]),
    Family("items", "sorted(items, reverse=True)", [
        "Sort the list from high to low.", "Return the items in falling order.",
        "Put the largest items first.", "Return the items from high to low."],
        LISTS, ["falling", "down"]),
    Family("items", "[x + {k} for x in items]", [
        "Add {k} to each item.", "Return a list with {k} added to every item.",
        "Increase all the items by {k}.", "Add {k} to every item in the list."],
        LISTS, ["add", "increase"]),
    Family("items", "[x * {k} for x in items]", [
        "Multiply each item by {k}.", "Return a list with every item times {k}.",
        "Scale all the items by {k}.", "Multiply every item in the list by {k}."],
        LISTS, ["multiply", "scale"]),
    Family("items", "[x for x in items if x > {k}]", [
        "Keep the items greater than {k}.", "Return the items that are more than {k}.",
        "Drop all items that are not larger than {k}.", "Return the items that are greater than {k}."],
        LISTS, ["keep", "above"]),
    Family("items", "[x for x in items if x % 2 == 0]", [
        "Keep the even items.", "Return the items that are even.",
        "Select all even numbers of the list.", "Return the numbers if they are even."],
        LISTS, ["even"]),
    Family("items", "[x * x for x in items]", [
        "Square each item.", "Return a list of the squares of the items.",
        "Give every item squared.", "Return a list with every item squared."],
        LISTS, ["square"]),
    Family("items", "len(set(items))", [
        "Count the different items.", "Return the number of unique items.",
        "Give how many different items there are.", "Return the number of different items."],
        LISTS, ["unique", "different"]),
    Family("text", "text[::-1]", [
        "Reverse the text.", "Return the text in reverse order.",
        "Read the text backwards.", "Give the text in reverse order."],
        WORDS, ["reverse"]),
    Family("text", "text.upper()", [
        "Return the text in upper case.", "Turn the text into capitals.",
        "Write the text in capital letters.", "Turn the text into upper case."],
        WORDS, ["upper"]),
    Family("text", "len(text)", [
        "Return the length of the text.", "Count the letters of the text.",
        "Give the number of letters in the text.", "Give the length of the text."],
        WORDS, ["length", "count"]),
    Family("text", "text.count('{c}')", [
        "Count the letter {c} in the text.", "Return how often {c} occurs in the text.",
        "Give the number of times that {c} is in the text.", "Count how often {c} is in the text."],
        WORDS, ["count"]),
    Family("text", "text + '{c}'", [
        "Add the letter {c} to the end of the text.", "Return the text with {c} at the end.",
        "Put {c} after the text.", "Put the letter {c} at the end of the text."],
        WORDS, ["append", "end"]),
    Family("text", "text * {k}", [
        "Repeat the text {k} times.", "Return the text {k} times in a row.",
        "Write the text {k} times.", "Give the text repeated {k} times."],
        WORDS, ["repeat"]),
    Family("text", "text[0]", [
        "Return the first letter of the text.", "Give the first letter.",
        "Get the letter at the start of the text.", "Give the first letter in the text."],
        WORDS, ["first"]),
    Family("text", "'{c}' in text", [
        "Check whether the text contains {c}.", "Return True if {c} is in the text.",
        "Tell if the letter {c} occurs in the text.", "Check if the letter {c} is in the text."],
        WORDS, ["contains", "has"]),
    Family("words", "' '.join(words)", [
        "Join the words with spaces.", "Return the words as one text with spaces.",
        "Put the words together with a space between them.", "Join the words as one text with spaces."],
        WORD_LISTS, ["join"]),
    Family("words", "max(words, key=len)", [
        "Return the longest word.", "Find the word with the most letters.",
        "Give the longest of the words.", "Find the longest word in the list."],
        WORD_LISTS, ["longest"]),
    Family("words", "[len(w) for w in words]", [
        "Return the length of each word.", "List the lengths of the words.",
        "Give the number of letters in each word.", "Give the length of every word."],
        WORD_LISTS, ["lengths"]),
]

TRAIN_SUFFIXES = ["", "it", "value", "all", "one", "result", "now", "fast", "easy", "simple", "up", "data"]
TEST_SUFFIXES = ["out", "them", "here", "new", "this"]
LETTERS = "abcdehlmnoprstu"


def make(rng: Random, test: bool = False) -> dict:
    """A function in HumanEval's fields, from the training or the held-out wordings and names."""
    family = rng.choice(FAMILIES)
    slots = {"k": rng.randint(2, 12), "c": rng.choice(LETTERS)}
    document = (family.docs[-1] if test else rng.choice(family.docs[:-1])).format(**slots)
    body = family.body.format(**slots)
    suffix = rng.choice(TEST_SUFFIXES if test else TRAIN_SUFFIXES)
    if not test and rng.random() < 0.4:
        suffix = invented(rng)
    name = rng.choice(family.stems) + ("_" + suffix if suffix else "")
    results = [eval(f"(lambda {family.arguments}: {body})({text})") for text in family.inputs]
    example = ""
    if rng.random() < 0.3:
        example = f"\n\n    >>> {name}({family.inputs[0]})\n    {results[0]!r}"
    prompt = f'def {name}({family.arguments}):\n    """{document}{example}\n    """\n'
    checks = "".join(f"    assert candidate({text}) == {result!r}\n" for text, result in zip(family.inputs, results))
    return {"prompt": prompt, "canonical_solution": f"    return {body}\n", "entry_point": name,
            "test": f"def check(candidate):\n{checks}", "document": document, "arguments": family.arguments, "body": body}


def function_plain(rng: Random) -> tuple[str, str]:
    """Plain completion, as HumanEval asks: the prompt, then the body."""
    item = make(rng)
    return item["prompt"], item["canonical_solution"]


def chat_prompt(prompt: str) -> str:
    """The user's message that asks for a completion in chat form."""
    return f"Complete this Python function.\n{prompt}"


def function_chat(rng: Random) -> tuple[str, str]:
    """Chat form: the assistant repeats the signature and gives the body."""
    item = make(rng)
    if rng.random() < 0.5:
        request = chat_prompt(item["prompt"])
    else:
        request = f"Write a Python function {item['entry_point']}({item['arguments']}). {item['document']}"
    return request, f"def {item['entry_point']}({item['arguments']}):\n    return {item['body']}"


def passage(rng: Random) -> str:
    """Running text of the domain: a file with functions and calls of them."""
    parts = []
    for _ in range(2):
        item = make(rng)
        parts.append(f"# {item['document']}\ndef {item['entry_point']}({item['arguments']}):\n    return {item['body']}\n")
    return "\n".join(parts)


def test_items(rng: Random, count: int, taken: set[str]) -> list[dict]:
    """Test items in HumanEval's fields, without repeated prompts and without those that are taken."""
    items, seen = [], set(taken)
    while len(items) < count:
        item = make(rng, test=True)
        if item["prompt"] not in seen:
            seen.add(item["prompt"])
            fields = {key: item[key] for key in ("prompt", "canonical_solution", "test", "entry_point")}
            items.append({"task_id": f"MiniEval/{len(items)}", **fields})
    return items
