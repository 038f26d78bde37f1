"""A resumed study starts from the same prior observations as the one that was interrupted."""

from dataclasses import replace

from rsopt.common.atomic_files import write_json
from search.optimizer.warm_start import PriorObservation, WarmStart
from search.session.build_engine import read_warm_start
from search.storage.layout import JOURNAL_FILE, WARM_START_FILE
from tests.support.simulated_search import settings_of


def test_the_warm_start_is_read_again_beside_a_journal(tmp_path):
    settings = replace(settings_of("s"), storage=str(tmp_path))
    settings.folder.mkdir()
    (settings.folder / JOURNAL_FILE).write_text('{"op_code":0}\n{"op_code":4}\n')
    assert read_warm_start(settings) == WarmStart()
    warm = WarmStart((PriorObservation({"llm_layers": 6}, ((0.5, 30.0), (1.0, 60.0)), {"cider": 60.0}),), ({"a": 1},))
    write_json(settings.folder / WARM_START_FILE, warm.to_json())
    assert read_warm_start(settings) == warm
