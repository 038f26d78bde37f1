"""Random captions of RSICD's frequent words, with words that are difficult for tokenizers."""

from __future__ import annotations

from random import Random

WORDS = [
    "a",
    "the",
    "are",
    "is",
    "and",
    "green",
    "of",
    "in",
    "many",
    "trees",
    "buildings",
    "with",
    "some",
    "near",
    "by",
    "two",
    "on",
    "several",
    "surrounded",
    "road",
    "river",
    "pond",
    "playground",
    "airplanes",
    "it's",
    "residential",
    "dense",
    ",",
    "large",
    "white-roofed",
    "baseball",
    "football",
    "field",
    "cars",
    "parked",
    "piece",
]
ODD = ("U.S.", "can't", "cannot", "(left)", '"port"', "3.5", "50%", "--", ";", "storage-tank", "o'clock", "café", "e.g.")


def sentence(random: Random, odd: float = 0.05) -> str:
    """One caption; `odd` is the share of difficult words."""
    length = max(1, round(random.gauss(10.8, 3.4)))
    words = [random.choice(ODD if random.random() < odd else WORDS) for _ in range(length)]
    return " ".join(words) + random.choice((" .", ".", ""))


def corpus(images: int, seed: int = 0) -> tuple[dict[str, list[str]], dict[str, str]]:
    """References (five an image, half of the images padded by repetition) and a candidate for each image."""
    random = Random(seed)
    references, candidates = {}, {}
    for number in range(images):
        distinct = [sentence(random) for _ in range(random.choice((1, 1, 2, 3, 5)))]
        captions = [distinct[n % len(distinct)] for n in range(5)]
        name = f"{random.choice(('airport', 'pond', 'port'))}_{number}.jpg"
        references[name] = captions
        candidates[name] = random.choice(captions) if random.random() < 0.2 else sentence(random)
    return references, candidates
