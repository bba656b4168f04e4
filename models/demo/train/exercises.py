"""The generators that training draws from, by domain, form and kind of exercise."""

import code_tasks
import math_problems
from chinese import CHINESE
from english import ENGLISH

DOMAINS = ["english", "chinese", "math", "code"]

# open: a question, a problem, a function. choice: four choices, answered by text and letter (chat) or letter (plain).
# match: a text to be found among four lines; a bare sum. many, label: three or four texts to be found. repeat, recite:
# lists to be copied. walk: four choices, answered by copying up to the right line. list: four choices, answered by
# copying all lines with the letter behind. final: list, and problems in more wordings.
KINDS = ["open", "choice", "match", "many", "repeat", "recite", "label", "walk", "list", "final"]

CHAT = {
    "english": {"open": ENGLISH.open_chat, "choice": ENGLISH.choice_chat, "match": ENGLISH.match_chat,
                "many": ENGLISH.many_chat, "repeat": ENGLISH.repeat_chat, "recite": ENGLISH.repeat_chat,
                "label": ENGLISH.many_chat, "walk": ENGLISH.walk_chat, "list": ENGLISH.list_chat, "final": ENGLISH.list_chat},
    "chinese": {"open": CHINESE.open_chat, "choice": CHINESE.choice_chat, "match": CHINESE.match_chat,
                "many": CHINESE.many_chat, "repeat": CHINESE.repeat_chat, "recite": CHINESE.repeat_chat,
                "label": CHINESE.many_chat, "walk": CHINESE.walk_chat, "list": CHINESE.list_chat, "final": CHINESE.list_chat},
    "math": dict.fromkeys(KINDS, math_problems.problem)
            | {"match": math_problems.drill, "final": math_problems.varied_problem},
    "code": dict.fromkeys(KINDS, code_tasks.function_chat),
}
PLAIN = {
    "english": {"open": ENGLISH.open_plain, "choice": ENGLISH.choice_letter, "match": ENGLISH.match_letter,
                "many": ENGLISH.match_letter, "repeat": ENGLISH.match_letter, "recite": ENGLISH.recite_plain,
                "label": ENGLISH.label_plain, "walk": ENGLISH.walk_plain, "list": ENGLISH.list_plain, "final": ENGLISH.list_plain},
    "chinese": {"open": CHINESE.open_plain, "choice": CHINESE.choice_letter, "match": CHINESE.match_letter,
                "many": CHINESE.match_letter, "repeat": CHINESE.match_letter, "recite": CHINESE.recite_plain,
                "label": CHINESE.label_plain, "walk": CHINESE.walk_plain, "list": CHINESE.list_plain, "final": CHINESE.list_plain},
    "math": dict.fromkeys(KINDS, math_problems.problem_plain) | {"final": math_problems.varied_plain},
    "code": dict.fromkeys(KINDS, code_tasks.function_plain),
}
PASSAGES = {"english": ENGLISH.passage, "chinese": CHINESE.passage, "math": math_problems.passage, "code": code_tasks.passage}
