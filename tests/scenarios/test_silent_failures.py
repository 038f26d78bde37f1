"""Silent failures: each test shows one and that it is caught."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from peft import LoraConfig

from rsopt.caption.decoders import caption_features
from rsopt.caption.degenerate import check_garbage, garbage
from rsopt.core.inference import Generation
from rsopt.core.recipe import Recipe
from rsopt.core.variant import LoraPart, LoraSpec, Variant
from rsopt.data.generated.mini import mini_folder
from rsopt.data.read import read
from rsopt.errors import CandidateError, UserError
from rsopt.model.base import Base, load_base
from rsopt.model.build import build, merged
from rsopt.model.config_repair import repair_config
from rsopt.model.vision_features import pixels
from rsopt.training.dataset import TokenCaption
from rsopt.training.trainer import Trainer, TrainingSet

LORA = LoraSpec(LoraPart(8, 16, "all_linear"))


@pytest.fixture(scope="module")
def tiny() -> Base:
    return load_base("tiny", torch.device("cpu"))


@pytest.fixture(scope="module")
def images(tiny: Base) -> torch.Tensor:
    return pixels(tiny, read(mini_folder()).split("val")[:4])


def test_too_few_image_tokens_mix_images_up_and_are_refused(tiny: Base, images: torch.Tensor) -> None:
    config = tiny.model.config

    def logits(count: int, pictures: torch.Tensor) -> torch.Tensor:
        ids = torch.tensor([[config.image_token_index] * count + [tiny.start_id]] * 2)
        with torch.inference_mode():
            return tiny.model(pixel_values=pictures, input_ids=ids).logits[:, -1]

    n = config.num_query_tokens
    other = torch.stack([images[0], images[2]])
    assert not torch.equal(logits(n, images[:2])[1], logits(n, other)[1])
    # With half of the tokens the second text gets the first image: another second image changes nothing.
    assert torch.equal(logits(n // 2, images[:2])[1], logits(n // 2, other)[1])
    wrong = deepcopy(tiny.processor)
    wrong.num_query_tokens = n // 2
    with pytest.raises(UserError, match=f"{n // 2} image tokens, its model has {n}"):
        repair_config("tiny", config, wrong)


def test_a_processor_without_num_query_tokens_gets_the_models(tiny: Base) -> None:
    processor = deepcopy(tiny.processor)
    processor.num_query_tokens = None
    repair_config("tiny", tiny.model.config, processor)
    assert processor.num_query_tokens == tiny.model.config.num_query_tokens


def test_without_the_end_token_captions_run_on_and_the_layout_check_refuses(tiny: Base, images: torch.Tensor) -> None:
    features = tiny.model.vision_model(images).last_hidden_state
    words = tiny.tokenizer("a green field with trees", add_special_tokens=False)["input_ids"]

    def longest(end: tuple[int, ...]) -> int:
        built = build(tiny, Variant.full(tiny.shape, LORA))
        captions = [[TokenCaption((tiny.start_id, *words, *end), 1.0)]] * 4
        recipe = Recipe(lr=5e-3, epochs=40, batch_images=4)
        Trainer(built, TrainingSet(features, captions), recipe, 0, tiny.tokenizer.pad_token_id).run(0, 1)
        captions = caption_features(merged(built), tiny, features, Generation(beams=1))
        return max(len(c.split()) for c in captions)

    assert longest((tiny.end_id,)) <= 8
    assert longest(()) > 8
    config = deepcopy(tiny.model.config)
    config.text_config.eos_token_id = 2
    with pytest.raises(UserError, match="captions end with token"):
        repair_config("tiny", config, tiny.processor)


def test_lora_on_an_unexpected_number_of_modules_is_an_error(tiny: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    from rsopt.model import build as module

    variant = Variant.full(tiny.shape, LORA)
    # PEFT silently accepts a pattern that also matches the Q-Former, as `all-linear` does.
    pattern = r".*\.layers?\.\d+\..*\.(q_proj|query|fc1|dense)"
    monkeypatch.setattr(module, "lora_config", lambda _: LoraConfig(target_modules=pattern))
    with pytest.raises(RuntimeError, match=r"must adapt .* modules and adapts"):
        build(tiny, variant)


@pytest.mark.parametrize(
    ("captions", "says"),
    [
        ([""] * 12 + ["a tree"] * 8, "empty"),
        (["tree " * 40] * 20, "never end or repeat"),
        (["a green tree ."] * 20, "every image gets the same caption"),
        ([f"a {n} trees trees trees trees trees trees trees" for n in range(20)], "repeat themselves"),
    ],
)
def test_garbage_captions_fail_with_the_reason(captions: list[str], says: str) -> None:
    references = ["there are two green trees near a road ."] * 20
    with pytest.raises(CandidateError, match=says) as error:
        check_garbage(captions, references)
    assert error.value.kind == "garbage"


def test_good_captions_are_not_garbage() -> None:
    captions = [f"there are {n} planes near a building ." for n in range(20)]
    assert garbage(captions, captions) is None
    assert garbage(["a pond ."] * 3, ["a pond ."] * 3) is None, "three images may get the same caption"


def test_a_loss_that_is_not_finite_ends_the_candidate_with_a_reason(tiny: Base, images: torch.Tensor) -> None:
    features = tiny.model.vision_model(images).last_hidden_state * float("nan")
    captions = [[TokenCaption((tiny.start_id, 10, 11, tiny.end_id), 1.0)]] * 4
    trainer = Trainer(build(tiny, Variant.full(tiny.shape, LORA)), TrainingSet(features, captions), Recipe(), 0, 1)
    with pytest.raises(CandidateError, match="training loss is nan") as error:
        trainer.run(0, 1)
    assert error.value.kind == "nan"
