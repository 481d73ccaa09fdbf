"""torchvision is imported where it is, and what is wrong with it is not hidden."""

import sys

import pytest

from brain_activity_prediction.models.library_imports import import_torchvision


@pytest.fixture
def without_torchvision(monkeypatch):
    """As if torchvision had never been imported; what was comes back afterwards."""
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)


def test_where_it_is_not_installed_nothing_is_imported(without_torchvision, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    import_torchvision()
    assert "torchvision" not in sys.modules


def test_another_fault_than_missing_operators_is_not_hidden(without_torchvision, tmp_path, monkeypatch):
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('built for another torch')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="built for another torch"):
        import_torchvision()
