"""Optional packages: what is missing is named together with the extra that brings it."""

import sys

import pytest

from meta_text.errors import ExtraError
from meta_text.extras import EXTRAS, check_extra, missing_packages, needs


def hide(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """As if these packages were not installed: Python refuses to import what stands as None in sys.modules."""
    for package in packages:
        for loaded in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.setitem(sys.modules, package, None)


@pytest.mark.parametrize(("extra", "package"), [(extra, p) for extra, packages in EXTRAS.items() for p in packages])
def test_a_missing_package_is_named_with_its_extra(extra: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, package)
    message = rf"^drawing needs {package}, which is not installed; run pip install 'meta_text\[{extra}\]'$"
    with pytest.raises(ExtraError, match=message), needs(extra, "drawing"):
        __import__(package)
    assert package in missing_packages(extra)


def test_all_missing_packages_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, *EXTRAS["train"])
    with pytest.raises(ExtraError, match="needs accelerate, peft, evaluate, datasets, which are not installed"):
        check_extra("train", "meta-training")


def test_other_failing_imports_pass_through() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package"), needs("train", "meta-training"):
        import no_such_package  # noqa: F401
    with pytest.raises(ImportError, match="cannot import name 'nothing'"), needs("train", "meta-training"):
        from sys import nothing  # noqa: F401


def test_what_is_installed_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "train", ("json",))
    check_extra("train", "meta-training")
    with needs("train", "meta-training"):
        import json  # noqa: F401
