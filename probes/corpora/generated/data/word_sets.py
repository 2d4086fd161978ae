"""English words in sets of which each prompt uses one: no word is then on two sides of a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from probes.corpora.generated.kit.writing import words

LENGTHS = {
    name: words(text)
    for name, text in {
        "1-3": """
            ant arm bag bat bed bee bus cat cow cup dog ear egg eye fan fig fox gum hat hen ice
            ink jam jar key leg lid map mud net nut oak owl pan pen pie pig pin pot rat rug sea
            sky sun tea toe toy van
        """,
        "4-6": """
            apple beach bread bridge bucket butter camera candle castle cheese circle coffee
            dinner doctor dragon engine family farmer finger flower garden ghost guitar island
            jacket kitten ladder lemon market mirror monkey needle ocean orange paper pencil
            pillow planet rabbit ribbon school shadow spider summer table tiger window wizard
        """,
        "7-9": """
            airplane backpack balloon bicycle blanket broccoli butcher calendar captain chicken
            chimney crocodile daughter detective diamond dinosaur dolphin envelope feather
            furniture giraffe highway holiday hospital stadium kitchen landscape lettuce magician
            medicine morning mountain mushroom neighbor notebook octopus orchestra painting
            passenger penguin pineapple pumpkin sandwich scissors shoulder squirrel telescope
            umbrella
        """,
        "10 or more": """
            accountant achievement adventurer ambassador appreciation archaeology architecture
            assignment astronomer atmosphere automobile bankruptcy basketball bibliography
            bureaucracy celebration championship civilization collaboration commentator
            composition concentration congratulations constellation controversy conversation
            decoration demonstration dictionary disappointment electrician encyclopedia
            engineering environment expedition experiment explanation federation generation
            gymnastics hippopotamus imagination independence information instrument investigation
            kindergarten laboratory
        """,
    }.items()
}
"""Number of letters -> as many words of each."""

LETTERS = {
    name: words(text)
    for name, text in {
        "A": """
            Amber Ancient Annual Apple Arctic Artist Atlas Autumn Average Active Angel Alpine
        """,
        "B": """
            Beacon Bicycle Border Bridge Bright Bronze Brother Budget Butter Button Basic Better
        """,
        "C": """
            Canal Candle Capital Castle Central Chamber City Classic Copper Coral Cotton Crystal
        """,
        "D": """
            Daily Dairy Delta Desert Diamond Digital District Double Dragon Dream Dance Deep
        """,
        "F": """
            Factory Family Farmer Federal Festival Fisher Flower Forest Fortune Fresh Future
            Flying
        """,
        "G": """
            Garden General Giant Glass Global Golden Grand Granite Gravel Green Guitar Ginger
        """,
        "H": """
            Harbor Harvest Heritage Hidden Highland History Holiday Home Honey Horse Hunter Human
        """,
        "L": """
            Ladder Language Lantern Leather Legal Lemon Liberty Library Light Little Local Lucky
        """,
        "M": """
            Magic Maple Marble Marine Market Master Meadow Medical Memory Metal Modern Music
        """,
        "N": """
            Narrow National Natural Nature Needle Network Noble North Novel Number Nursery Night
        """,
        "P": """
            Palace Paper Park Patient Peaceful Pearl Pepper Pilot Planet Plastic Polar Power
        """,
        "R": """
            Rabbit Racing Radio Railway Rapid Record Regional Remote Ribbon River Royal Rural
        """,
        "S": """
            Safety Sailor Salmon School Science Secret Senior Silver Simple Solar Spring Summer
        """,
        "T": """
            Table Target Teacher Temple Tennis Theater Tiger Timber Tower Trade Travel Tropical
        """,
        "V": """
            Valley Velvet Victory Village Vintage Violet Virtual Vision Visual Vital Vocal Volcano
        """,
        "W": """
            Wagon Water Weather Wedding Welcome Western Whisper Wild Window Winter Wonder Wooden
        """,
    }.items()
}
"""Initial -> as many capitalised words of each."""


def word_sets(
    classes: Mapping[str, Sequence[str]], per_class: int, rng: Random
) -> list[dict[str, list[str]]]:
    """The words of all classes in disjoint sets, each with ``per_class`` words of every class."""
    shuffled = {name: rng.sample(known, len(known)) for name, known in classes.items()}
    count = min(len(words) for words in shuffled.values()) // per_class
    return [
        {
            name: words[number * per_class : (number + 1) * per_class]
            for name, words in shuffled.items()
        }
        for number in range(count)
    ]
