"""CIDEr of baselines on a split: captioners that never look at the image, one that looks a little, and people.

All are scored like any captioner: on all images of the split, copies of references kept. Their captions come from the training
split alone; of equally frequent captions the first in alphabetical order is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rsopt.core.baseline import BaselineScore
from rsopt.data.colour_layout import nearest_by_colour
from rsopt.data.formats.listing import scene_of
from rsopt.data.records import CaptionData, Sample
from rsopt.scores.scorer import Scorer, scorer_of


def baselines_of(data: CaptionData, split: str) -> dict[str, BaselineScore]:
    """Return the baselines of a split, see `baselines_beside`."""
    return baselines_beside(scorer_of(data, split), data.split("train"), data.split(split))


def baselines_beside(scorer: Scorer, train: Sequence[Sample], samples: Sequence[Sample]) -> dict[str, BaselineScore]:
    """Return the baselines of `samples`, which `scorer` scores, with the share of the images that each covers.

    `blind_class`: each image gets the most frequent training caption of its class, or that of `blind` where its class is not
    known; absent without classes. `blind`: the most frequent training caption. `nearest_image`: the most frequent caption of
    the training image that is nearest in colours; absent if images cannot be read. `people`: see `people_score`.
    """
    scores = {}
    if covered := class_coverage(train, samples):
        scores["blind_class"] = BaselineScore(scorer.cider(blind_class_captions(train, samples)).corpus, covered)
    scores["blind"] = BaselineScore(scorer.cider(blind_captions(train, samples)).corpus, 1.0)
    try:
        nearest = nearest_image_captions(train, samples)
    except OSError:
        pass
    else:
        scores["nearest_image"] = BaselineScore(scorer.cider(nearest).corpus, 1.0)
    return scores | people_score(scorer)


def people_score(scorer: Scorer) -> dict[str, BaselineScore]:
    """Return `people`: each reference against the others of its image, over the images with at least two references."""
    score = scorer.leave_one_out()
    images = len(score.per_image)
    return {"people": BaselineScore(score.corpus, images / len(scorer.image_ids))} if images else {}


def class_coverage(train: Sequence[Sample], samples: Sequence[Sample]) -> float:
    """Return the share of the samples whose class occurs in training."""
    known = {s.scene for s in train if s.scene}
    return sum(s.scene in known for s in samples) / len(samples)


def blind_captions(train: Sequence[Sample], samples: Sequence[Sample]) -> dict[str, str]:
    """Return {image id: the most frequent training caption}."""
    answer = most_frequent(_count(train))
    return {s.image_id: answer for s in samples}


def blind_class_captions(train: Sequence[Sample], samples: Sequence[Sample]) -> dict[str, str]:
    """Return {image id: its class's most frequent training caption}; of all classes if the image's is unknown."""
    of_class = {
        scene: most_frequent(_count([s for s in train if s.scene == scene])) for scene in {s.scene for s in train if s.scene}
    }
    of_all = most_frequent(_count(train))
    return {s.image_id: of_class.get(s.scene or "", of_all) for s in samples}


def nearest_image_captions(train: Sequence[Sample], samples: Sequence[Sample]) -> dict[str, str]:
    """Return {image id: the most frequent caption of the nearest training image}. Raises OSError for an unreadable image."""
    nearest = nearest_by_colour(samples, train)
    return {s.image_id: most_frequent(_count([other])) for s, other in zip(samples, nearest, strict=True)}


def most_frequent(counts: Mapping[str, int]) -> str:
    """Return the most frequent caption; of equally frequent ones the first in alphabetical order."""
    return min(counts, key=lambda text: (-counts[text], text))


def baselines_from_references(scorer: Scorer, references: Mapping[str, Sequence[str]]) -> dict[str, BaselineScore]:
    """Return the blind baselines where no training captions are given, and `people`.

    Each image gets the most frequent reference of the other images of its class (`blind_class_from_references`; classes come
    from file names) or of all others. Captions of the scored split are nearer to it than training captions: these baselines
    are higher than the ones from training captions.
    """
    scores, answers = {}, blind_from_references(references)
    of_class = blind_class_from_references(references)
    if of_class:
        score = scorer.cider(answers | of_class).corpus
        scores["blind_class_from_references"] = BaselineScore(score, len(of_class) / len(references))
    if answers:
        scores["blind_from_references"] = BaselineScore(scorer.cider(answers).corpus, 1.0)
    return scores | people_score(scorer)


def blind_from_references(references: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return {image id: the most frequent reference of the other images}; empty for a single image."""
    counts = Counter(text for captions in references.values() for text in captions)
    ranked = sorted(counts, key=lambda text: (-counts[text], text))
    answers = {}
    for image_id, captions in references.items():
        counted = Counter(captions)
        rivals = {text: counts[text] - n for text, n in counted.items() if counts[text] > n}
        if (other := next((text for text in ranked if text not in counted), None)) is not None:
            rivals[other] = counts[other]
        if rivals:
            answers[image_id] = most_frequent(rivals)
    return answers


def blind_class_from_references(references: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return {image id: the most frequent reference of the other images of its class}.

    Images without a class in the file name (`airport_1.jpg`), or alone in their class, are left out.
    """
    by_class: dict[str, dict[str, Sequence[str]]] = {}
    for image_id, captions in references.items():
        if scene := scene_of(image_id):
            by_class.setdefault(scene, {})[image_id] = captions
    answers = dict[str, str]()
    for images in by_class.values():
        answers |= blind_from_references(images)
    return {image_id: answers[image_id] for image_id in references if image_id in answers}


def _count(samples: Sequence[Sample]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for sample in samples:
        for caption in sample.captions:
            counts[caption.text] += caption.count
    return counts
