"""Any true value of either variable forbids the network; nothing else does."""

import pytest

from firstlight.runtime.offline import VARIABLES, offline_by


@pytest.fixture(autouse=True)
def _neither_is_set(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["FIRSTLIGHT_OFFLINE", "HF_HUB_OFFLINE"])
@pytest.mark.parametrize("value", ["1", "true", "TRUE", "yes", "on", " 1 ", "2"])
def test_any_true_value_forbids_it(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    assert offline_by() == name


@pytest.mark.parametrize("value", ["", "0", "false", "False", "no", "off", " "])
def test_a_false_value_does_not(value, monkeypatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, value)
    assert offline_by() is None


def test_unset_it_is_allowed():
    assert offline_by() is None
