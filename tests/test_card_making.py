import pytest
from carded import manifest

import workbench.formats
from workbench import catalog, plugins
from workbench.artifact import FileEntry
from workbench.card_facts import read_facts
from workbench.card_making import identity_table, option_meanings, options_table


@pytest.mark.parametrize("name", plugins.member_names(workbench.formats))
def test_every_option_of_every_format_is_explained(name):
    options = catalog.get_format(name).options_model.model_fields
    meanings = option_meanings(name)
    assert set(meanings) == set(options)
    assert all(len(text) > 8 and ".py" not in text for text in meanings.values())


@pytest.mark.parametrize("name", ["../push", "base", "_gguf_names", "", "nothing"])
def test_a_format_that_is_none_explains_nothing(name):
    assert option_meanings(name) == {}


def test_options_of_a_calibration_that_was_not_made_are_left_out():
    options = {"type": "q4_k_m", "imatrix": False, "calibration_samples": 128, "calibration_tokens": 1024}
    made = manifest(recipe={"options": options})
    assert [row[0] for row in options_table(read_facts(made)).rows] == ["`imatrix`", "`type`"]
    calibrated = manifest(recipe={"options": options}, details={"calibration": {"source": "bundled", "texts": 8}})
    assert len(options_table(read_facts(calibrated)).rows) == 4


def test_many_weight_files_are_counted():
    names = [f"model-0000{at}-of-00005.safetensors" for at in range(1, 6)]
    files = tuple(FileEntry(name, 1, "0" * 64) for name in [*names, "config.json"])
    row = dict(identity_table(read_facts(manifest(files=files))).rows)["weights"]
    assert row.startswith("`model-00001-of-00005.safetensors`, ") and " and 2 more: " in row
