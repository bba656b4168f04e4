"""Plain words and invented words: material for exercises in copying.

A model can only repeat a token that it has met. So the nouns and names that the word problems hold out occur
here, as words to be found among four lines; and some names and things are invented from syllables, so that
copying has to work piece by piece.
"""

from random import Random

ENGLISH_WORDS = (
    "cookies nuts lemons photos candles tickets dolls roses apples books pens cards stamps coins eggs stones shells toys "
    "cakes flowers balls oranges stickers marbles plums buttons pears keys Bella Karl Milan Rita Lara Simon Tina Marco "
    "Alina Jonas Tom Anna Ben Lucy Sam Mia house garden river street window door table chair lamp clock bread milk salt "
    "sugar water stone tree leaf bird fish wolf fox snow rain wind cloud star moon ship train wheel road bridge tower "
    "music song story paper letter word number green blue yellow small large quick slow early late north south").split()

CHINESE_WORDS = "房子 花园 河流 街道 窗户 桌子 椅子 面包 牛奶 大树 小鸟 白云 星星 月亮 火车 桥梁 音乐 故事 纸张 数字 春天 夏天 秋天 冬天".split()

SYLLABLES = "ba be bo da di do fa fe go ka ki lo lu ma mi na no pa pe ra ri ro sa se ta ti to va vi zo out new here them this".split()


def invented(rng: Random) -> str:
    """A word of two or three syllables that means nothing."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 3)))
