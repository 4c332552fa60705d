"""Our reading of requirements is that of `packaging`, on the forms that metadata of ours has."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from ontogeny.base.requirements import parse, requirements, satisfies

versions = st.builds(
    lambda numbers, early, local: ".".join(map(str, numbers)) + early + local,
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
    st.sampled_from(["", "", "rc1", "a2", ".dev3"]),
    st.sampled_from(["", "+cpu"]),
)
clauses = st.builds(
    lambda sign, numbers: sign + ".".join(map(str, numbers)),
    st.sampled_from([">=", "<=", "==", "!=", "~="]),
    st.lists(st.integers(0, 3), min_size=2, max_size=3),
)


@given(version=versions, wanted=st.lists(clauses, min_size=1, max_size=2).map(",".join))
def test_versions_fit_as_packaging_says(version: str, wanted: str) -> None:
    assert satisfies(version, wanted) == SpecifierSet(wanted).contains(version, prereleases=True)


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("2.13.0+cpu", "<3,>=2.11", True),
        ("3.0.0", "<3,>=2.11", False),
        ("2.9", ">=2.11", False),
        ("2.11.0rc1", ">=2.11", False),
        ("1.4.7", "==1.4.*", True),
        ("1.5", "==1.4.*", False),
        ("0.1.2", "==0.1.2", True),
        ("5", "", True),
    ],
)
def test_the_forms_of_our_own_metadata(version: str, wanted: str, fits: bool) -> None:
    assert satisfies(version, wanted) is fits


def test_an_extra_is_read_and_an_unknown_form_is_refused() -> None:
    assert parse("torch<3,>=2.11").extra is None
    found = parse("reasoning-gym>=0.1.25; extra == 'quickstart'")
    assert (found.name, found.clauses, found.extra) == ("reasoning-gym", ">=0.1.25", "quickstart")
    for text in ("a @ file:///x", "a>=1; python_version < '3.12'", "a===1", "a 1"):
        with pytest.raises(ValueError, match="of an unknown form"):
            parse(text)


def distribution(root: Path, name: str, version: str, *requires: str) -> None:
    """Installs nothing but metadata."""
    info = root / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    lines += [f"Requires-Dist: {each}" for each in requires]
    (info / "METADATA").write_text("\n".join(lines) + "\n")


def test_what_is_installed_is_read_from_its_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution(tmp_path, "shelf-old", "1.0")
    distribution(tmp_path, "shelf-life", "0.3", "shelf-old>=2", "shelf-gone; extra == 'more'")
    monkeypatch.syspath_prepend(tmp_path)
    old, gone = requirements("shelf-life")
    assert (old.version, old.fits, old.requirement.extra) == ("1.0", False, None)
    assert (gone.version, gone.fits, gone.requirement.extra) == (None, False, "more")
