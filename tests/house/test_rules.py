"""The law stands in docs/rules.md: each rule that is cited is one of it, and all is said here."""

import re

from tests.house import texts

CITED = re.compile(r"\brules? (\d+[a-z]?(?:(?:, | and | to |, and )\d+[a-z]?)*)", re.IGNORECASE)
# Whoever reads this has the repository and nothing else.
OUTSIDE = re.compile(r"\.\./shared|\bshared/design|\bdesign/\w+\.|\bissues? #?\d+|\bticket #?\d+")
DOCUMENT = re.compile(r"(?<![\w./])((?:[\w.-]+/)*[\w-]+\.md)\b")


def law() -> dict[str, str]:
    """Each rule by its number."""
    return dict(re.findall(r"^(\d+[a-z]?)\. (.+)$", texts.RULES.read_text(), re.MULTILINE))


def cited(text: str) -> list[str]:
    """The numbers of rules that `text` names; a line's end may stand between them."""
    named = CITED.findall(" ".join(re.sub(r"\n\s*#?", " ", text).split()))
    return [number for one in named for number in re.findall(r"\d+[a-z]?", one)]


class TestARule:
    def test_has_a_number_of_its_own_and_none_is_left_out(self):
        numbers = re.findall(r"^(\d+[a-z]?)\. ", texts.RULES.read_text(), re.MULTILINE)
        assert numbers == [*map(str, range(1, 13)), "12a", *map(str, range(13, 31))]

    def test_names_who_keeps_it_and_that_one_is_there(self):
        kept = {number: re.findall(r"`([\w/]+\.py)`", said) for number, said in law().items()}
        assert [number for number, files in kept.items() if not files] == []
        named = {file for files in kept.values() for file in files}
        assert [file for file in sorted(named) if not (texts.ROOT / file).is_file()] == []


class TestACitation:
    def test_is_understood_in_every_form(self):
        assert cited("(rule 14), Rules 9 and 12a; rules 1 to 6, (rules 3, 4 and\n    # 5).") == [
            *("14", "9", "12a", "1", "6", "3", "4", "5"),
        ]

    def test_is_of_a_rule_there_is(self):
        found = [(path, number) for path in texts.files() for number in cited(texts.prose(path))]
        assert len(found) > 40
        known = law()
        assert [(texts.name_of(path), n) for path, n in found if n not in known] == []


class TestNothing:
    def test_points_outside_the_repository(self):
        here = texts.ROOT / "tests/house/test_rules.py"
        others = [path for path in texts.files() if path != here]
        assert len(others) > 600
        found = [(texts.name_of(p), OUTSIDE.findall(p.read_text())) for p in others]
        assert [one for one in found if one[1]] == []

    def test_names_a_document_that_is_not_here(self):
        missing = []
        for path in texts.files():
            for name in DOCUMENT.findall(re.sub(r"\w+://\S+", "", texts.prose(path))):
                if not any(
                    (folder / name).is_file()
                    for folder in (texts.ROOT, texts.ROOT / "docs", path.parent)
                ):
                    missing.append((texts.name_of(path), name))
        assert missing == []
