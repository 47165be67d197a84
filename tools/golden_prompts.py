"""The prompts whose logits ``tools/record_golden`` records and the tests replay."""

from __future__ import annotations

FACTS = (
    "The capital of France is",
    "Albert Einstein was a famous",
    "The Eiffel Tower is located in the city of",
    "The chemical symbol for gold is",
    "Water boils at a temperature of",
    "The largest planet in the solar system is",
    "William Shakespeare wrote the play Romeo and",
    "The first person to walk on the Moon was",
    "The currency of Japan is the",
    "Mount Everest lies on the border between Nepal and",
)

CODE = (
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
    "#include <stdio.h>\n\nint main(void) {\n    printf(",
    "SELECT name, count(*) FROM users GROUP BY",
    '{"name": "Ada", "born": 1815, "fields": ["mathematics",',
    "for (let i = 0; i < items.length; i++) {\n  console.",
    "git commit -m",
)

LANGUAGES = (
    "La capitale de l'Italie est",
    "Il était une fois, dans un petit village près de la mer,",
    "中国的首都是",
    "今天天气很好，我们一起去",
    "عاصمة مصر هي",
    "كان الولد يقرأ كتابا في",
    "Die Hauptstadt von Deutschland ist",
    "Столица России —",
    "日本の首都は",
    "भारत की राजधानी",
)

SYMBOLS = (
    "😀😃😄😁",
    "I ❤️ pizza 🍕 and 👩‍👩‍👧‍👦",
    "1, 2, 3, 4, 5, 6, 7, 8,",
    "3.14159265358979",
    "12 + 30 =",
    "!!! ??? ... ---",
    "«Où ?» – “Là-bas…”",
    "\n\n\n",
    "   leading spaces and\ttabs\t",
    "trailing spaces   ",
    "a",
    "<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n",
    # No numeral beyond ASCII here: reading a GGUF, transformers loses SmolLM2's rule that splits them one by one.
    "ﬁne ligatures, e\u0301 combining, \u200bzero width",
)

STORY = (
    "The lighthouse keeper had counted the steps so often that he no longer noticed he was counting. There were two "
    "hundred and twelve of them, worn in the middle, and on stormy nights the sound of the sea came up through the "
    "stone as if the tower were breathing. His daughter, who was nine, believed that it was. She kept a notebook in "
    "which she wrote the names of the ships that passed, the colour of their lamps, and what she supposed they were "
    "carrying: oranges, letters, a piano for a woman in the north who had never seen one. In winter few ships came, "
    "and she wrote about birds instead. One evening in November the lamp went out. It had never gone out before. The "
    "keeper climbed the stairs with a can of oil and a box of matches, and the girl followed with the notebook under "
    "her arm, because it seemed to her that somebody should write it down. At the top they found the glass whole, the "
    "wick dry, and on the floor, looking at them without fear, a small grey owl. The keeper laughed. He said that in "
    "thirty years he had been afraid of wind, of fire and of sleep, but that nobody had told him to be afraid of owls. "
    "He filled the lamp and lit it. Far out on the black water a ship that had been turning toward the rocks turned "
    "away again, slowly, like a person who has remembered something. The girl opened her notebook and wrote the date, "
    "then the name of the ship, which she could not read and so invented. Below it, after thinking for a while, she "
    "wrote what it was carrying. Years later, when the tower was a museum and she was an old woman with a stick, a "
    "visitor asked her what the word on that page had been, for the ink had run. She did not need to look. She said"
)

MODULE = '''"""A bounded queue that several threads may use."""

import threading
from collections import deque


class Closed(Exception):
    """The queue was closed while somebody waited on it."""


class BoundedQueue:
    def __init__(self, capacity):
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self._items = deque()
        self._capacity = capacity
        self._lock = threading.Lock()
        self._not_empty = threading.Condition(self._lock)
        self._not_full = threading.Condition(self._lock)
        self._closed = False

    def put(self, item):
        with self._not_full:
            while len(self._items) >= self._capacity and not self._closed:
                self._not_full.wait()
            if self._closed:
                raise Closed()
            self._items.append(item)
            self._not_empty.notify()

    def get(self):
        with self._not_empty:
            while not self._items and not self._closed:
                self._not_empty.wait()
            if not self._items:
                raise Closed()
            item = self._items.popleft()
            self._not_full.notify()
            return item

    def close(self):
        with self._lock:
            self._closed = True
            self._not_empty.notify_all()
            self._not_full.notify_all()

    def __len__(self):
        with self._lock:
            return len(self._items)


def test_put_then_get():
    queue = BoundedQueue(2)
    queue.put("a")
    queue.put("b")
    assert queue.get() == "a"
    assert len(queue) =='''

RECETTE = (
    "Pour faire une bonne soupe à l'oignon, il faut d'abord de la patience. On épluche six gros oignons, on "
    "les coupe en fines lamelles et on les laisse fondre dans le beurre, à feu très doux, pendant près d'une "
    "heure. Ils ne doivent pas brûler : ils doivent devenir couleur de miel. Ensuite on ajoute une cuillère "
    "de farine, un verre de vin blanc, puis le bouillon chaud, du thym et une feuille de laurier. Pendant que "
    "la soupe cuit, on fait griller des tranches de pain de campagne. Ma grand-mère disait que le secret "
    "n'était ni dans le fromage ni dans le vin, mais dans l'attente ; elle s'asseyait près du fourneau avec "
    "son tricot et racontait l'hiver de mille neuf cent cinquante-six, quand la rivière avait gelé et que les "
    "enfants du village traversaient à pied pour aller à l'école. À la fin, on verse la soupe dans des bols, "
    "on pose le pain dessus, on couvre de fromage râpé et l'on passe le tout au four jusqu'à ce que la croûte "
    "soit dorée. On sert aussitôt, avec"
)

LONG = (
    STORY,
    MODULE,
    RECETTE,
    "\n".join(f"{n} x {n + 1} = {n * (n + 1)}" for n in range(1, 60)) + "\n60 x 61 =",
    "Notes in many languages:\n" + "\n".join(f"- {text}" for text in FACTS + LANGUAGES + SYMBOLS[:7]) + "\n-",
    # longer than the 512 tokens of Gemma 3's sliding window
    STORY + " nothing.\n\n" + RECETTE + " du vin.\n\n" + MODULE,
)

PROMPTS: tuple[str, ...] = (*FACTS, *CODE, *LANGUAGES, *SYMBOLS, *LONG)
EVERY_POSITION: tuple[str, ...] = (FACTS[0], CODE[0], LANGUAGES[3], LANGUAGES[4], SYMBOLS[1], LONG[1], LONG[5])

# Continued greedily, token by token.
CONTINUED = [
    "The capital of France is",
    "Once upon a time, in a small village by the sea,",
    "def fibonacci(n):\n",
    "La tour Eiffel se trouve à",
    "Water boils at 100 degrees Celsius because",
    "1, 2, 3, 4, 5,",
    "東京は",
]
