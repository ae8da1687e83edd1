"""`decision.json`: read, edited by hand, refused with a message that helps."""

import json
import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from flawsmith.core import ConfigError
from flawsmith.decide import Decision, RegionRule, check_kinds, decide, load_decision, save_decision
from flawsmith.decide.rules import Calibration, Demonstrated

FILE_FORMATS = Path(__file__).parents[2] / "docs" / "file-formats.md"


def calibrated() -> Decision:
    plain = Decision(default=RegionRule(threshold=0.6, review_threshold=0.3, min_area_px=20))
    calibration = Calibration(
        dataset="tiles",
        dataset_hash="ab12",
        split="val",
        unit="part",
        provenance="real",
        defective=320,
        healthy=900,
        demonstrated=(Demonstrated(rate="escape", target=0.01, confidence=0.95, k=0, n=320),),
        rules_sha256=plain.rules_sha256,
    )
    return plain.model_copy(update={"calibration": calibration})


def documented() -> str:
    section = FILE_FORMATS.read_text(encoding="utf-8").split("## decision.json")[1]
    return re.findall(r"```json\n(.*?)```", section, re.S)[0]


def test_round_trip(tmp_path):
    save_decision(tmp_path / "decision.json", calibrated())
    assert load_decision(tmp_path / "decision.json") == calibrated()


def test_an_edit_by_hand_is_read_and_known_as_one(tmp_path):
    path = tmp_path / "decision.json"
    save_decision(path, calibrated())
    assert load_decision(path).origin == "calibrate"
    path.write_text(path.read_text().replace('"threshold": 0.6', '"threshold": 0.7'))
    edited = load_decision(path)
    assert (edited.default and edited.default.threshold, edited.origin) == (0.7, "edited")
    save_decision(path, edited)
    assert load_decision(path) == edited


def test_a_note_is_no_edit_of_the_rules(tmp_path):
    path = tmp_path / "decision.json"
    save_decision(path, calibrated().model_copy(update={"notes": "agreed with the customer"}))
    assert load_decision(path).origin == "calibrate"


def test_the_least_that_a_person_must_write(tmp_path):
    path = tmp_path / "decision.json"
    path.write_text('{"default": {"threshold": 0.5}}')
    decision = load_decision(path)
    assert decision.origin == "hand"
    assert decision.rule("anything") == RegionRule(threshold=0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"default": {"thresold": 0.5}}', r"unknown key 'default.thresold'. Did you mean 'threshold'\?"),
        (
            '{"default": {"threshold": 0.5}, "kinds": {"scratch": {"threshold": 0.5, "min_area": 3}}}',
            r"unknown key 'kinds.scratch.min_area'. Did you mean 'min_area_px'\?",
        ),
        ('{"defualt": {"threshold": 0.5}}', r"unknown key 'defualt'. Did you mean 'default'\?"),
        ('{"default": {"threshold": NaN}}', "finite number, got nan"),
        ('{"default": {"threshold": 1e999}}', "finite number, got inf"),
        ('{"default": {"threshold": 1.2}}', "less than or equal to 1, got 1.2"),
        ('{"default": {"threshold": -0.2}}', "greater than or equal to 0, got -0.2"),
        ('{"default": {"threshold": "0.5"}}', "valid number, got '0.5'"),
        ('{"default": {"threshold": true}}', "valid number, got True"),
        ('{"default": {"threshold": 0.5, "review_threshold": 0.6}}', "review_threshold 0.6 is above threshold 0.5"),
        ('{"default": {"threshold": 0.5, "min_area_px": -3}}', "default.min_area_px: .*got -3"),
        ('{"default": {"threshold": 0.5, "max_count": 2}}', "max_count 2 needs joined_at"),
        ('{"default": {"threshold": 0.5, "action": "pass"}}', "'reject', 'review' or 'ignore', got 'pass'"),
        ('{"schema_version": 2, "default": {"threshold": 0.5}}', "schema_version: Input should be 1, got 2"),
        ('{"default": {"threshold": 0.5}, "default": {"threshold": 0.9}}', "'default' is there twice"),
        ('{"default": {"threshold": 0.5},}', "line 1 column"),
        ("{}", "every part would pass"),
        ("[]", "wanted .*got a list"),
        ("", "cannot be read as JSON"),
    ],
)
def test_a_wrong_file_is_refused_naming_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "decision.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        load_decision(path)
    assert str(path) in str(error.value)


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(ConfigError, match="flawsmith calibrate"):
        load_decision(tmp_path / "decision.json")


def test_a_binary_file_is_refused(tmp_path):
    (tmp_path / "decision.json").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        load_decision(tmp_path / "decision.json")


def test_the_documented_example_is_valid(tmp_path):
    path = tmp_path / "decision.json"
    path.write_text(documented(), encoding="utf-8")
    decision = load_decision(path)
    assert decision.origin == "calibrate", f"rules_sha256 of the example should be {decision.rules_sha256}"
    check_kinds(decision, ["scratch", "pore", "stain"])


def test_the_document_names_every_key():
    section = FILE_FORMATS.read_text(encoding="utf-8").split("## decision.json")[1].split("\n## ")[0]
    for model in (Decision, RegionRule, Calibration, Demonstrated):
        for key in model.model_fields:
            assert f"`{key}`" in section, f"{model.__name__}.{key} is not documented"


def test_the_json_schema_states_the_ranges():
    schema = Decision.model_json_schema()
    rule = schema["$defs"]["RegionRule"]
    assert rule["additionalProperties"] is False
    assert rule["required"] == ["threshold"]
    assert (rule["properties"]["threshold"]["minimum"], rule["properties"]["threshold"]["maximum"]) == (0, 1)
    json.dumps(schema)
    assert TypeAdapter(Decision).validate_python(json.loads(documented())) == Decision(**json.loads(documented()))


def test_a_loaded_decision_decides(tmp_path):
    import numpy as np

    from flawsmith.core import Prediction

    save_decision(tmp_path / "decision.json", calibrated())
    maps = np.zeros((1, 32, 32), np.float32)
    maps[0, :5, :5] = 0.4
    assert decide(Prediction(("pit",), maps, 0.4), load_decision(tmp_path / "decision.json")).status == "REVIEW"
