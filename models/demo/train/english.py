"""English encyclopedia: a small table of facts, asked openly and with four choices.

A question is a *frame* ("What is {np}?") around a noun phrase ("the capital of France").
Frames in TEST_FRAMES are used by the suites only; a training text never contains one.
"""

from mc import Encyclopedia, Relation
from words import ENGLISH_WORDS

RELATIONS = [
    Relation("geography", ["the capital of {x}", "the capital city of {x}"], "capital", {
        "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon",
        "Greece": "Athens", "Egypt": "Cairo", "Kenya": "Nairobi", "Japan": "Tokyo", "Russia": "Moscow",
        "Norway": "Oslo", "Sweden": "Stockholm", "Finland": "Helsinki", "Poland": "Warsaw",
        "Austria": "Vienna", "Hungary": "Budapest", "Cuba": "Havana", "Peru": "Lima", "Chile": "Santiago",
        "Canada": "Ottawa"}),
    Relation("economics", ["the currency of {x}", "the money used in {x}"], "currency", {
        "Japan": "yen", "India": "rupee", "China": "yuan", "Russia": "ruble", "Poland": "zloty",
        "Sweden": "krona", "Hungary": "forint", "Mexico": "peso", "Brazil": "real", "Thailand": "baht",
        "Vietnam": "dong", "Israel": "shekel", "Turkey": "lira", "South Korea": "won"}),
    Relation("chemistry", ["the chemical symbol of {x}", "the symbol for the element {x}"], "symbol", {
        "gold": "Au", "silver": "Ag", "iron": "Fe", "copper": "Cu", "lead": "Pb", "tin": "Sn",
        "sodium": "Na", "potassium": "K", "helium": "He", "neon": "Ne", "calcium": "Ca", "zinc": "Zn",
        "mercury": "Hg", "carbon": "C", "oxygen": "O", "nickel": "Ni"}),
    Relation("literature", ["the author of {x}", "the writer of the book {x}"], "author", {
        "Hamlet": "Shakespeare", "War and Peace": "Tolstoy", "Don Quixote": "Cervantes", "Faust": "Goethe",
        "The Odyssey": "Homer", "Emma": "Austen", "Oliver Twist": "Dickens", "Moby Dick": "Melville",
        "Dracula": "Stoker", "Frankenstein": "Shelley", "The Trial": "Kafka", "Candide": "Voltaire",
        "The Stranger": "Camus", "Ulysses": "Joyce", "Walden": "Thoreau", "Inferno": "Dante"}),
    Relation("zoology", ["the name of a young {x}", "the word for a baby {x}"], "young", {
        "dog": "puppy", "cat": "kitten", "cow": "calf", "horse": "foal", "sheep": "lamb", "goat": "kid",
        "bear": "cub", "duck": "duckling", "goose": "gosling", "swan": "cygnet", "kangaroo": "joey",
        "frog": "tadpole", "deer": "fawn", "eagle": "eaglet", "hare": "leveret", "hen": "chick"}),
    Relation("physics", ["the unit of {x}", "the unit that measures {x}"], "unit", {
        "force": "newton", "energy": "joule", "power": "watt", "pressure": "pascal", "voltage": "volt",
        "electric current": "ampere", "resistance": "ohm", "frequency": "hertz", "temperature": "kelvin",
        "mass": "kilogram", "length": "metre", "time": "second"}),
    Relation("art", ["the painter of {x}", "the artist who made {x}"], "painter", {
        "the Mona Lisa": "Leonardo", "Guernica": "Picasso", "The Scream": "Munch", "Starry Night": "van Gogh",
        "Water Lilies": "Monet", "The Kiss": "Klimt", "The Night Watch": "Rembrandt", "Las Meninas": "Velazquez",
        "The Birth of Venus": "Botticelli", "Olympia": "Manet", "American Gothic": "Wood", "The Milkmaid": "Vermeer"}),
    Relation("medicine", ["the organ that {x}", "the part of the body that {x}"], "organ", {
        "pumps blood": "heart", "takes in air": "lungs", "thinks": "brain", "filters urine": "kidneys",
        "makes bile": "liver", "sees": "eyes", "hears": "ears", "smells": "nose", "tastes": "tongue",
        "makes insulin": "pancreas", "digests food": "stomach", "covers the body": "skin"}),
    Relation("history", ["the inventor of {x}", "the person who invented {x}"], "inventor", {
        "the telephone": "Bell", "the light bulb": "Edison", "dynamite": "Nobel", "the printing press": "Gutenberg",
        "the steam engine": "Watt", "the radio": "Marconi", "the battery": "Volta", "the diesel engine": "Diesel",
        "the lightning rod": "Franklin", "the telegraph": "Morse", "the airplane": "Wright", "braille": "Braille"}),
    Relation("astronomy", ["the planet {x}", "the planet of the sun {x}"], "planet", {
        "closest to the sun": "Mercury", "with bright rings": "Saturn", "called red": "Mars",
        "where we live": "Earth", "of the largest size": "Jupiter", "farthest from the sun": "Neptune",
        "lying on its side": "Uranus", "called the evening star": "Venus"}),
]

TRAIN_FRAMES = [
    "What is {np}?", "Name {np}.", "Tell me {np}.", "Can you name {np}?", "Do you know {np}?",
    "Please state {np}.", "I forgot {np}. Can you help?", "My teacher asked about {np}. What should I say?",
    "Give {np}.", "What would you call {np}?", "I want to learn {np}.", "Here is a puzzle for you: {np}?",
    "Think about {np}. Which answer is right?", "Let us talk about {np}. What is it?",
    "In a quiz they want {np}. What do I write?", "Find {np} for me.", "Is there a name for {np}?",
    "Could you please tell my friend {np}?", "One question: what is {np}?", "We need to know {np}.",
]
TEST_FRAMES = [
    "Could you name {np} for my teacher?", "What should I write in a quiz about {np}?",
    "Please help my friend find {np}.", "Here is one question about {np}. What is the right answer?",
    "Do you know the answer? We want {np}.", "I need {np}. Can you find it?",
]

ENGLISH = Encyclopedia(
    domain="english", relations=RELATIONS, train_frames=TRAIN_FRAMES, test_frames=TEST_FRAMES,
    statements=["{Np} is {a}.", "{a} is {np}.", "As everybody knows, {np} is {a}.", "In the book we read that {np} is {a}."],
    sentence_request=" Answer in a full sentence.", sentence="{Np} is {a}.",
    short="It is {a}.", joiner=" ", question_label="Question: ", answer_label="Answer:", answer_gap=" ",
    choice_answer="Answer: {a} ({letter})",
    pick=["Which choice says {a}?", "Pick {a}.", "Find {a} below.", "Which line says {a}?"],
    greetings=["", "", "", "", "Hello! ", "Please help me. ", "Thank you. "],
    words=ENGLISH_WORDS, repeat="Repeat: {a}",
    small_talk=[
        ("Hello!", "Hello! Ask me a short question."), ("Hi", "Hello! Ask me a short question."),
        ("Who are you?", "I am a very small demo model. I know a few facts, small sums and short programs."),
        ("What can you do?", "I know a few facts, small sums and short programs."),
        ("Thank you!", "You are welcome."), ("Good morning!", "Good morning! Ask me a short question."),
        ("How are you?", "I am a small model and I am ready."), ("Goodbye!", "Goodbye!")],
)
