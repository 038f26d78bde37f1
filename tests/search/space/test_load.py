"""Spaces: what ships, what each word means, and one line for each thing that can be wrong."""

import subprocess
import sys
from dataclasses import replace

import optuna
import pytest

from rsopt.core.candidate import Candidate
from rsopt.core.ranking import MeasuredRankings
from rsopt.core.recipe import CAPTION_TOKENS
from rsopt.core.variant import BaseShape
from rsopt.errors import UserError
from search.space.load import known_spaces, load_space

TINY, OPT = BaseShape(4, 6, 8, caption_room=110), BaseShape(39, 12, 32)
HEAD = "name: mine\nobjectives: [cider, latency_ms]\n"


def space(tmp_path, parameters, head=HEAD, starts=""):
    """A space from the lines of its parameters; these begin in line 4."""
    path = tmp_path / "mine.yaml"
    path.write_text(f"{head}parameters:\n" + "".join(f"  {line}\n" for line in parameters) + starts)
    return load_space(path)


def line_of(call, *args, **kwargs):
    with pytest.raises(UserError) as caught:
        call(*args, **kwargs)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 500
    return text


@pytest.mark.parametrize("name", list(known_spaces()))
@pytest.mark.parametrize("shape", [TINY, OPT])
def test_shipped_spaces_make_candidates(name, shape):
    bound = load_space(name).bind(shape, MeasuredRankings.placeholder(shape.llm_layers))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(200):
        params = bound.suggest(study.ask())
        candidate = bound.candidate(params)
        candidate.variant.check(shape)
        assert Candidate.from_json(candidate.to_json()) == candidate
        if bound.names or candidate.baseline:
            continue  # a list: its values do not depend on one another
        scope = candidate.variant.lora.scope
        assert ("llm_rank" in params) == (scope != "qformer") and ("qformer_rank" in params) == (scope != "llm")
        pairs = candidate.variant.qformer_layers
        assert pairs[1::2] == tuple(layer + 1 for layer in pairs[::2]) and all(layer % 2 == 0 for layer in pairs[::2])
    for start in bound.starts:
        bound.candidate({"lr_factor": 1.0, **start}).variant.check(shape)
    params, reference = bound.full_depth()
    assert reference.variant.architecture() == bound.zero_shot().variant.architecture()
    assert bound.candidate(params) == reference
    lora = reference.variant.lora.llm
    assert lora.alpha == 2 * lora.rank
    assert bound.zero_shot().variant.lora is None


def test_pruning_is_what_its_issue_asks_for():
    pruning = load_space("pruning")
    assert [o.name for o in pruning.objectives] == ["cider", "latency_ms", "params"]
    assert pruning.trials == 20 and pruning.rungs == (0.5, 1.0)
    bound = pruning.bind(OPT, MeasuredRankings.placeholder(OPT.llm_layers))
    over = bound.distributions
    assert (over["llm_layers"].low, over["llm_layers"].high) == (16, 32)
    assert (over["qformer_layers"].low, over["qformer_layers"].high, over["qformer_layers"].step) == (4, 12, 2)
    assert [start["llm_layers"] for start in bound.starts] == [32, 28, 24, 24, 20, 16]
    assert [start["qformer_layers"] for start in bound.starts] == [12, 8, 8, 4, 8, 4]
    assert bound.size is None  # the learning rate is continuous
    placeholder = MeasuredRankings.placeholder
    rates = [
        pruning.bind(shape, placeholder(shape.llm_layers)).full_depth()[1].recipe.lr
        for shape in (OPT, replace(TINY, llm_width=128))
    ]
    assert rates == pytest.approx([1.5625e-4, 3.125e-3])  # one space, each base at its own scale
    assert [o.name for o in load_space("lora").objectives] == ["cider", "trainable", "train_s"]


def test_depths_are_shares_or_counts(tmp_path):
    lines = ["llm_layers: {layers: [4, 1.0]}", "qformer_layers: {layers: [1/3, 1]}", "vision_layers: {choice: [0.5, 1]}"]
    over = space(tmp_path, lines).bind(TINY).distributions
    assert (over["llm_layers"].low, over["llm_layers"].high) == (4, 8)
    assert (over["qformer_layers"].low, over["qformer_layers"].high) == (2, 6)
    assert over["vision_layers"].choices == (2, 4)


def test_a_fixed_depth_and_a_measured_ranking(tmp_path):
    lines = ["llm_layers: 3", "ranking: {choice: [greedy, prefix]}", "lr: 2e-4"]
    bound = space(tmp_path, lines).bind(TINY, MeasuredRankings({"greedy": (7, 0, 6, 1, 5, 2, 4, 3)}, {1: (2,)}, {}))
    assert bound.candidate({"ranking": "greedy"}).variant.llm_layers == (2, 3, 4)
    assert bound.candidate({"ranking": "prefix"}).variant.llm_layers == (0, 1, 2)
    assert bound.candidate({"ranking": "greedy", "qformer_layers": 2}).variant.qformer_layers == (4, 5)
    assert bound.candidate({"ranking": "prefix", "qformer_layers": 2}).variant.qformer_layers == (0, 1)
    assert bound.candidate({"ranking": "prefix"}).recipe.lr == 2e-4
    assert bound.full_depth()[1].variant.llm_layers == tuple(range(8)) and bound.full_depth()[0] == {}
    assert "once" in line_of(space(tmp_path, lines).bind, TINY, MeasuredRankings({"greedy": (0, 1)}, {}, {}))
    text = line_of(space(tmp_path, lines).bind, TINY)
    assert "mine.yaml:5: unknown ranking 'greedy'; known: prefix, keep_last, alternate, symmetric" in text


def test_size_counts_conditional_combinations(tmp_path):
    lines = [
        "lora: {choice: [llm, both, qformer]}",
        "llm_rank: {int: [4, 6], when: {lora: [llm, both]}}",
        "qformer_rank: {choice: [4, 8], when: {lora: [qformer, both]}}",
        "llm_layers: {layers: [6, 8]}",
        "lr: {float: [1e-3, 1e-3]}",
    ]
    bound = space(tmp_path, lines).bind(TINY)
    every = list(bound.combinations())
    assert bound.size == len(every) == 3 * (3 + 3 * 2 + 2)
    assert len({bound.candidate(params).key for params in every}) == bound.size


def test_starts_are_bound_and_may_be_partial(tmp_path):
    lines = ["llm_layers: {layers: [0.5, 1.0]}", "lora: {choice: [llm, both]}", "lr: {float: [1e-4, 1e-2], log: true}"]
    bound = space(tmp_path, lines, starts="starts:\n  - {llm_layers: 0.75}\n  - {lora: both, llm_layers: 1}\n").bind(OPT)
    assert bound.starts == ({"llm_layers": 24}, {"llm_layers": 32, "lora": "both"})


RANK = "llm_rank: {int: [4, 8]}"
BAD_PARAMETERS = [
    (["depth: {int: [1, 2]}"], ":4: unknown key 'depth' in parameters; allowed: baseline, vision_layers, qformer_layers"),
    (["llm_rank: {range: [4, 8]}"], ":4: unknown key 'range' in llm_rank; allowed: int, float, choice, layers, log, when"),
    (["llm_rank: {int: [4, 8], choice: [4]}"], ":4: llm_rank needs exactly one of: int, choice"),
    (["llm_rank: {log: true}"], ":4: llm_rank needs exactly one of: int, choice"),
    (["llm_rank: {layers: [4, 8]}"], ":4: llm_rank needs exactly one of: int, choice"),
    (["llm_rank: {int: [4]}"], ":4: int of llm_rank must be [lowest, highest]"),
    (["llm_rank: {int: 4}"], ":4: int of llm_rank must be a list in [ ]"),
    (["llm_rank: {int: [8, 4]}"], ":4: int of llm_rank: the lowest, 8, is above the highest, 4"),
    (["llm_rank: {int: [0, 4]}"], ":4: llm_rank must be at least 1, not 0"),
    (["llm_rank: {int: [1, 4.5]}"], ":4: llm_rank must be a whole number, not 4.5"),
    (["epochs: {int: [1, 2.5]}"], ":4: int of epochs must be whole numbers"),
    (["llm_rank: {int: [4, many]}"], ":4: llm_rank must be a finite number, not 'many'"),
    (["lr: {float: [1e-4, .inf]}"], ":4: lr must be a finite number, not '.inf'"),
    (["lr: {float: [0, 1]}"], ":4: lr must be above 0, not 0"),
    (["weight_decay: {float: [0, 1], log: true}"], ":4: log of weight_decay needs an int or float range above 0"),
    (["dropout: {float: [0, 1]}"], ":4: dropout must be below 1, not 1"),
    (["llm_targets: {choice: [qk, attention]}"], ":4: llm_targets cannot be 'attention'; allowed: qk, qkv, qkvo, mlp"),
    (["llm_targets: {choice: []}"], ":4: choice of llm_targets must list different values"),
    (["llm_targets: {choice: [qk, qk]}"], ":4: choice of llm_targets must list different values"),
    (["rslora: {choice: [1, 0]}"], ":4: rslora must be true or false, not '1'"),
    (["llm_layers: {layers: [0.5, 1.5]}"], ":4: llm_layers is a share of the base's depth (0.5, 1.0) or a count"),
    ([RANK, "llm_rank: {int: [4, 8]}"], ":5: key 'llm_rank' is given twice in parameters"),
    (["llm_rank: 8"], ":4: parameters must hold at least one that is searched"),
    (["llm_rank: {int: [4, 8], when: {lora: [llm]}}"], ":4: `when` of llm_rank must name an earlier choice, not 'lora'"),
    ([RANK, "dropout: {float: [0, 0.5], when: {llm_rank: [4]}}"], ":5: `when` of dropout must name an earlier choice"),
    (["lora: {choice: [llm, both]}", "llm_rank: {int: [4, 8], when: {lora: [qformer]}}"], "lora is never 'qformer'"),
    (["lora: {choice: [llm, both]}", "llm_rank: {int: [4, 8], when: {lora: []}}"], "must list at least one value of lora"),
    (["llm_rank: {int: [4, 8], when: {lora: [llm], ranking: [prefix]}}"], "must name exactly one earlier choice"),
    (["llm_rank: [4, 8]"], ":4: llm_rank must be a single value"),
]


@pytest.mark.parametrize(("lines", "message"), BAD_PARAMETERS)
def test_a_bad_parameter_is_one_line(tmp_path, lines, message):
    assert message in line_of(space, tmp_path, lines)


GOOD = "parameters: {llm_layers: {layers: [0.5, 1.0]}}\n"
BAD_FILES = [
    ("", ":1: is empty"),
    ("- a\n", ":1: a space must be a mapping"),
    ("name: [a\nb: c\n", ":2: is not YAML: expected ',' or ']', but got ':'"),
    ("name: a\n\tb: c\n", ":2: is not YAML: found character '\\t' that cannot start any token"),
    ("name: a\n---\nname: b\n", ":2: is not YAML: but found another document"),
    ("name: \x00", ":1: is not YAML: special characters are not allowed"),
    ("[" * 5000, ":1: is nested too deeply"),
    (HEAD, ":1: a space needs 'parameters'"),
    (f"{HEAD}{GOOD}trails: 3\n", ":4: unknown key 'trails' in a space; allowed: name, description, objectives, trials"),
    (f"{HEAD}{GOOD}trials: 0\n", ":4: trials must be a whole number, at least 1, not 0"),
    (f"{HEAD}{GOOD}trials: [3]\n", ":4: trials must be a single value"),
    (f"{HEAD}{GOOD}rungs: [0.5]\n", ":4: rungs must be ascending shares"),
    (f"{HEAD}{GOOD}rungs: [0.5, 0.2, 1]\n", ":4: rungs must be ascending shares"),
    (f"{HEAD}{GOOD}rungs: []\n", ":4: rungs must be ascending shares"),
    (f"name: ../x\nobjectives: [cider, params]\n{GOOD}", ":1: name must be letters, digits, - and _"),
    (f"name: a\nobjectives: [cider]\n{GOOD}", ":2: objectives must be two or three different ones"),
    (f"name: a\nobjectives: [cider, cider]\n{GOOD}", ":2: objectives must be two or three different ones"),
    (f"name: a\nobjectives: [cider, params]\nlatency_decoder: fast\n{GOOD}", ":3: unknown latency_decoder 'fast'; known"),
    (f"name: a\nobjectives: [cider, speed]\n{GOOD}", ":2: unknown objective 'speed'; known: cider, latency_ms, params"),
    (f"{HEAD}{GOOD}starts:\n  - {{lr: 0.1}}\n", ":5: unknown key 'lr' in a starting point; allowed: llm_layers"),
    (f"{HEAD}{GOOD}starts: 3\n", ":4: starts must be a list in [ ]"),
    (f"{HEAD}parameters: &p {{llm_layers: *p}}\n", ":3: unknown key 'llm_layers' in llm_layers"),
    (f"{HEAD}parameters: {{? [a] : 1}}\n", ":3: a key of parameters must be a single value"),
]


@pytest.mark.parametrize(("text", "message"), BAD_FILES)
def test_a_bad_file_is_one_line(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    assert f"bad.yaml{message}" in line_of(load_space, path)


BAD_BINDINGS = [
    (
        ["lora: {choice: [llm, both]}", "caption_tokens: 200"],
        "",
        ":5: caption_tokens: 200 asked for, the base has positions for 110",
    ),
    (["caption_tokens: {int: [32, 111]}"], "", ":4: caption_tokens: 111 asked for, the base has positions for 110"),
    (["llm_layers: {layers: [4, 9]}"], "", ":4: llm_layers: 9 layers asked for, the base has 8"),
    (["llm_layers: {layers: [6, 0.5]}"], "", ":4: layers of llm_layers: the lowest, 6, is above the highest, 4"),
    (["qformer_layers: {layers: [3, 6]}"], "", ":4: qformer_layers: 3 layers are not whole groups of 2"),
    (["llm_layers: {layers: [4, 8]}"], "starts:\n  - {llm_layers: 9}\n", ":6: llm_layers: 9 layers asked for"),
    (["llm_layers: {layers: [4, 8]}"], "starts:\n  - {llm_layers: 3}\n", ":6: llm_layers: '3' is outside the space; it has 4"),
    (
        ["lora: {choice: [llm, both]}", "qformer_rank: {int: [4, 8], when: {lora: [both]}}"],
        "starts:\n  - {lora: llm, qformer_rank: 4}\n",
        ":7: qformer_rank does not exist in this starting point",
    ),
]


@pytest.mark.parametrize(("lines", "starts", "message"), BAD_BINDINGS)
def test_what_the_base_does_not_have_is_one_line(tmp_path, lines, starts, message):
    assert f"mine.yaml{message}" in line_of(space(tmp_path, lines, starts=starts).bind, TINY)


def test_the_limit_of_captions_is_a_parameter_and_never_more_than_the_base_has(tmp_path):
    bound = space(tmp_path, ["caption_tokens: {choice: [16, 110]}"]).bind(TINY)
    assert [bound.candidate({"caption_tokens": n}).recipe.caption_tokens for n in (16, 110)] == [16, 110]
    assert "captions cut at 16 tokens" in bound.candidate({"caption_tokens": 16}).recipe.description
    plain = space(tmp_path, ["llm_layers: {layers: [4, 8]}"])
    for room, limit in ((48, 48), (110, CAPTION_TOKENS)):
        recipe = plain.bind(replace(TINY, caption_room=room)).full_depth()[1].recipe
        assert recipe.caption_tokens == limit and ("captions cut" in recipe.description) == (limit != CAPTION_TOKENS)
    with pytest.raises(UserError, match="caption_tokens must be at least 1, not 0"):
        space(tmp_path, ["caption_tokens: 0"])


@pytest.mark.parametrize("name", ["prunning", "../x", "a\nb", "x" * 5000, "", "<b>"])
def test_an_unknown_space_lists_the_known_ones(name):
    assert "known: baselines, joint, lora, pruning, report" in line_of(load_space, name)


def test_a_missing_or_unreadable_file(tmp_path):
    assert "cannot read" in line_of(load_space, tmp_path / "no.yaml")
    (tmp_path / "folder.yaml").mkdir()
    assert "cannot read" in line_of(load_space, tmp_path / "folder.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff")
    assert "is not UTF-8" in line_of(load_space, tmp_path / "latin.yaml")


ROWS = "rows:\n  - {name: all}\n  - {name: half, llm_layers: 0.5, lora: llm}\n  - {name: a half, llm_layers: 4, lora: llm}\n"


def test_rows_are_a_fixed_list(tmp_path):
    listed = space(tmp_path, ["lora: both", "llm_rank: 4"], starts=ROWS)
    assert listed.trials == 3 and listed.rows == ("all", "half", "a half")
    bound = listed.bind(TINY)
    candidates = [bound.candidate(start) for start in bound.starts]
    assert [len(c.variant.llm_layers) for c in candidates] == [8, 4, 4]
    assert [c.variant.lora.scope for c in candidates] == ["both", "llm", "llm"]
    assert all(c.variant.lora.llm.rank == 4 for c in candidates)
    # On this base two rows are one candidate; on a deeper one they are not.
    assert set(bound.names.values()) == {"all", "half = a half"}
    assert set(listed.bind(OPT).names.values()) == {"all", "half", "a half"}


def test_the_report_has_the_studys_rows_and_a_teacher():
    for shape in (TINY, OPT):
        bound = load_space("report").bind(shape, MeasuredRankings.placeholder(shape.llm_layers))
        assert len(set(bound.names)) == 20, "every row is a candidate of its own"
        assert bound.distills and bound.full_depth()[1].key in bound.names
    own = {bound.names[bound.candidate(s).key]: bound.candidate(s) for s in bound.starts}
    study = own["LLM28+Q8"]
    assert (len(study.variant.llm_layers), len(study.variant.qformer_layers)) == (28, 8)
    assert study.variant.llm_layers == tuple(range(28)) and study.variant.lora.dropout == 0.05
    assert (study.variant.lora.llm.rank, study.variant.lora.llm.alpha, study.variant.lora.llm.targets) == (16, 32, "qk")
    assert (study.recipe.epochs, study.recipe.batch_images, study.recipe.packed) == (1, 4, False)
    assert len(own["Q6 LLM"].variant.qformer_layers) == 6 and own["Q6 LLM"].variant.lora.scope == "llm"
    assert own["LLM24 distilled"].recipe.distills and not own["LLM24 best layers"].recipe.distills


def test_the_teacher_is_taught_by_nobody(tmp_path):
    lines = ["llm_layers: {layers: [0.5, 1.0]}", "distill_logits: {choice: [0, 1]}", "distill_hidden: 1"]
    bound = space(tmp_path, lines, starts="starts:\n  - {llm_layers: 0.5, distill_logits: 1}\n").bind(TINY)
    assert bound.distills and not bound.full_depth()[1].recipe.distills
    assert bound.candidate(bound.starts[0]).recipe.distills
    assert not space(tmp_path, [lines[0], "distill_logits: {choice: [0]}"]).bind(TINY).distills


BAD_ROWS = [
    ("rows: []\n", ":4: rows must list at least one"),
    ("rows:\n  - {lora: llm}\n", ":5: a row needs a name"),
    ("rows:\n  - {name: a}\n  - {name: a}\n", ":6: row 'a' is given twice"),
    ("rows:\n  - {name: a, lora: none}\n", ":5: lora cannot be 'none'"),
    ("rows:\n  - {name: a, llm_layers: {layers: [1, 2]}}\n", ":5: llm_layers must be a single value"),
    ("rows:\n  - {name: ''}\n", ":5: name of a row must be 1 to 60 printable characters"),
    ("rows:\n  - {name: a}\nstarts:\n  - {llm_rank: 4}\n", ":7: rows are all there is to try"),
    ("rows:\n  - {name: a}\nvalidations: 1000\n", ":6: validations must be a whole number, 0 to 100"),
]


@pytest.mark.parametrize(("rows", "message"), BAD_ROWS)
def test_bad_rows_are_one_line(tmp_path, rows, message):
    path = tmp_path / "bad.yaml"
    path.write_text(f"{HEAD}parameters: {{llm_rank: 4}}\n{rows}")
    assert f"bad.yaml{message}" in line_of(load_space, path)


def test_rows_beside_a_searched_parameter_are_refused(tmp_path):
    text = line_of(space, tmp_path, ["llm_rank: {int: [4, 8]}"], HEAD, "rows:\n  - {name: a}\n")
    assert ":4: llm_rank: with rows, parameters are plain values" in text


def test_listing_the_spaces_imports_nothing_heavy():
    code = "import sys; from search.space.load import known_spaces; known_spaces(); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "search.space.load" in modules
    assert not {"numpy", "optuna", "torch", "ray", "mlflow", "scipy", "sklearn"} & set(modules)
