"""The generators that training draws from, by domain, form and kind of exercise."""

import code_tasks
import math_problems
from chinese import CHINESE
from english import ENGLISH

DOMAINS = ["english", "chinese", "math", "code"]
KINDS = ["open", "choice", "match", "many", "repeat", "recite"]

CHAT = {
    "english": {"open": ENGLISH.open_chat, "choice": ENGLISH.choice_chat, "match": ENGLISH.match_chat,
                "many": ENGLISH.many_chat, "repeat": ENGLISH.repeat_chat, "recite": ENGLISH.repeat_chat},
    "chinese": {"open": CHINESE.open_chat, "choice": CHINESE.choice_chat, "match": CHINESE.match_chat,
                "many": CHINESE.many_chat, "repeat": CHINESE.repeat_chat, "recite": CHINESE.repeat_chat},
    "math": dict.fromkeys(KINDS, math_problems.problem) | {"match": math_problems.drill},
    "code": dict.fromkeys(KINDS, code_tasks.function_chat),
}
PLAIN = {
    "english": {"open": ENGLISH.open_plain, "choice": ENGLISH.choice_letter, "match": ENGLISH.match_letter,
                "many": ENGLISH.match_letter, "repeat": ENGLISH.match_letter, "recite": ENGLISH.recite_plain},
    "chinese": {"open": CHINESE.open_plain, "choice": CHINESE.choice_letter, "match": CHINESE.match_letter,
                "many": CHINESE.match_letter, "repeat": CHINESE.match_letter, "recite": CHINESE.recite_plain},
    "math": dict.fromkeys(KINDS, math_problems.problem_plain),
    "code": dict.fromkeys(KINDS, code_tasks.function_plain),
}
PASSAGES = {"english": ENGLISH.passage, "chinese": CHINESE.passage, "math": math_problems.passage, "code": code_tasks.passage}
