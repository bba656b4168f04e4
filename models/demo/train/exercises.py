"""The generators that training draws from, by domain, form and kind of exercise."""

import code_tasks
import math_problems
from chinese import CHINESE
from english import ENGLISH

DOMAINS = ["english", "chinese", "math", "code"]

CHAT = {
    "english": {"open": ENGLISH.open_chat, "choice": ENGLISH.choice_chat, "match": ENGLISH.match_chat},
    "chinese": {"open": CHINESE.open_chat, "choice": CHINESE.choice_chat, "match": CHINESE.match_chat},
    "math": {"open": math_problems.problem, "choice": math_problems.problem, "match": math_problems.drill},
    "code": {kind: code_tasks.function_chat for kind in ("open", "choice", "match")},
}
PLAIN = {
    "english": {"open": ENGLISH.open_plain, "choice": ENGLISH.choice_letter, "match": ENGLISH.match_letter},
    "chinese": {"open": CHINESE.open_plain, "choice": CHINESE.choice_letter, "match": CHINESE.match_letter},
    "math": {"open": math_problems.problem_plain, "choice": math_problems.problem_plain, "match": math_problems.problem_plain},
    "code": {kind: code_tasks.function_plain for kind in ("open", "choice", "match")},
}
PASSAGES = {"english": ENGLISH.passage, "chinese": CHINESE.passage, "math": math_problems.passage, "code": code_tasks.passage}
