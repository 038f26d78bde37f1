"""Floor and ceiling of a data set: CIDEr x100 of a captioner that never looks at the image, and of human captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rsopt.data.formats.listing import scene_of
from rsopt.data.records import CaptionData, Sample
from rsopt.scores.scorer import Scorer


def floor_of(data: CaptionData, split: str) -> dict[str, float]:
    """Return CIDEr x100 of the priors of the training split: `prior`, and `class_prior` if scene classes are known.

    The class prior answers each image with the most frequent training caption of its class.
    """
    scorer, train, samples = scorer_of(data, split), data.split("train"), data.split(split)
    floors = {"prior": scorer.cider(prior_captions(train, samples)).corpus}
    if has_classes(train, samples):
        floors = {"class_prior": scorer.cider(class_prior_captions(train, samples)).corpus} | floors
    return floors


def ceiling_of(data: CaptionData, split: str) -> dict[str, float]:
    """Return CIDEr x100 of `human_agreement`: each reference against the others. Empty if no image has two captions."""
    score = scorer_of(data, split).agreement()
    return {"human_agreement": score.corpus} if len(score.per_image) else {}


def scorer_of(data: CaptionData, split: str) -> Scorer:
    """Return a scorer for the split's references."""
    return Scorer({s.image_id: s.references for s in data.split(split)})


def has_classes(train: Sequence[Sample], samples: Sequence[Sample]) -> bool:
    """Whether any image of `samples` has a class that occurs in training."""
    return bool({s.scene for s in train if s.scene} & {s.scene for s in samples if s.scene})


def prior_captions(train: Sequence[Sample], samples: Sequence[Sample]) -> dict[str, str]:
    """Return {image id: the most frequent training caption}."""
    answer = most_frequent(_count(train))
    return {s.image_id: answer for s in samples}


def class_prior_captions(train: Sequence[Sample], samples: Sequence[Sample]) -> dict[str, str]:
    """Return {image id: its class's most frequent training caption}; of all classes if the image's is unknown."""
    of_class = {
        scene: most_frequent(_count([s for s in train if s.scene == scene])) for scene in {s.scene for s in train if s.scene}
    }
    of_all = most_frequent(_count(train))
    return {s.image_id: of_class.get(s.scene or "", of_all) for s in samples}


def most_frequent(counts: Mapping[str, int]) -> str:
    """Return the most frequent caption; of equally frequent ones the first in alphabetical order."""
    return min(counts, key=lambda text: (-counts[text], text))


def _count(samples: Sequence[Sample]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for sample in samples:
        for caption in sample.captions:
            counts[caption.text] += caption.count
    return counts


def class_prior_without(references: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the class prior without training captions: the most frequent reference of the other images of a class.

    Classes come from file names (`airport_1.jpg`). Images without a class, or alone in their class, are left out.
    """
    by_class: dict[str, Counter[str]] = {}
    for image_id, captions in references.items():
        if scene := scene_of(image_id):
            by_class.setdefault(scene, Counter()).update(captions)
    answers = {}
    for image_id, captions in references.items():
        if others := by_class.get(scene_of(image_id) or "", Counter()) - Counter(captions):
            answers[image_id] = most_frequent(others)
    return answers
