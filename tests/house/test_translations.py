import gettext
import json
import os

import pytest
from django.core.management import CommandError, call_command
from django.utils import translation
from django.utils.translation import ngettext

from portal import translations
from portal.translations import Text

PYTHON = """
from django.utils.translation import gettext_lazy as _, ngettext, pgettext
TITLE = _("Auto recharge")
TITLE_AGAIN = _("Auto recharge")
LONG = _("Nothing was taken: "
         "the balance is {balance:,}.")
COUNT = ngettext("%(n)d line", "%(n)d lines", 3)
ORDER = pgettext("of sorting", "Order")
NOT_A_TEXT = "Recharge"
"""
TEMPLATE = """\
{% load i18n %}
  <h1>{% translate "Lines" %}</h1>
{# not this #}
    <p title="{% translate 'It''s' %}{{ _("Help") }}">don't (worry</p>
{% blocktranslate trimmed with name=line.name %}
  Hello {{ name }},
  you save 5%.
{% endblocktranslate %}
{% blocktranslate count n=lines %}One line{% plural %}{{ n }} lines{% endblocktranslate %}
{% translate "Order" context "of goods" %}
"""
CHINESE = {
    "Auto recharge": "自动充值",
    "Nothing was taken: the balance is {balance:,}.": "未扣款：余额为 {balance:,}。",
    "%(n)d line": "%(n)d 个号码",
    "of sorting|Order": "排序",
    "of goods|Order": "订单",
    "Lines": "号码",
    "Help": "帮助",
    "Hello %(name)s, you save 5%%.": "%(name)s，你好，为你节省 5%%。",
    "One line": "%(n)s 个号码",
}


@pytest.fixture
def project(tmp_path):
    """A small project with every way to mark a text, all translated by one file of pairs."""
    for name in ("portal", "portal/migrations", "billing", "lines", "templates", "locale/pairs"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "billing/words.py").write_text(PYTHON)
    (tmp_path / "templates/home.html").write_text(TEMPLATE.replace("'It''s'", "'It is'"))
    (tmp_path / "portal/migrations/0001.py").write_text('_("From a migration")')
    write(tmp_path, "locale/pairs/all.json", CHINESE | {"It is": "是"})
    return tmp_path


def write(root, path, pairs):
    (root / path).write_text(json.dumps(pairs))


@pytest.fixture
def run(project, settings, capsys):
    settings.BASE_DIR = project

    def messages(*options):
        """What the command complains about, sorted."""
        failure = None
        try:
            call_command("messages", *options)
        except CommandError as error:
            failure = str(error)
        return sorted(capsys.readouterr().err.splitlines()), failure

    return messages


class TestCollect:
    def test_finds_each_text_once_in_python_and_templates(self, project):
        found = translations.collect(project)
        assert {text.key for text in found} == {*CHINESE, "It is"}
        assert [text.key for text in found] == sorted(text.key for text in found)

    def test_knows_plural_context_and_place(self, project):
        by_key = {text.key: text for text in translations.collect(project)}
        assert by_key["%(n)d line"] == Text(
            "%(n)d line", plural="%(n)d lines", where="billing/words.py:7"
        )
        assert by_key["of goods|Order"] == Text(
            "Order", context="of goods", where="templates/home.html:10"
        )


class TestMessages:
    def test_makes_a_catalog_that_speaks_chinese(self, project, run):
        assert run() == ([], None)
        with (project / translations.PO).with_suffix(".mo").open("rb") as file:
            chinese = gettext.GNUTranslations(file)
        assert chinese.gettext("Auto recharge") == "自动充值"
        assert chinese.pgettext("of goods", "Order") == "订单"
        assert chinese.ngettext("%(n)d line", "%(n)d lines", 1) % {"n": 1} == "1 个号码"
        assert chinese.ngettext("%(n)d line", "%(n)d lines", 5) % {"n": 5} == "5 个号码"

    def test_keeps_the_translations_when_the_pairs_are_gone(self, project, run):
        run()
        before = (project / translations.PO).read_text()
        os.remove(project / "locale/pairs/all.json")
        assert run() == ([], None)
        assert (project / translations.PO).read_text() == before
        assert run("--check") == ([], None)

    def test_lets_a_new_pair_win_over_the_catalog(self, project, run):
        run()
        write(project, "locale/pairs/all.json", {"Lines": "我的号码"})
        run()
        assert 'msgid "Lines"\nmsgstr "我的号码"' in (project / translations.PO).read_text()

    def test_keeps_our_words_for_texts_of_other_apps(self, project, run):
        write(project, "locale/overrides.json", {"Sign In": "登录"})
        run()
        assert 'msgid "Sign In"\nmsgstr "登录"' in (project / translations.PO).read_text()
        assert run("--check") == ([], None)

    def test_tells_of_two_translations_of_one_text_and_keeps_the_first(self, project, run):
        write(project, "locale/pairs/b.json", {"Lines": "线路", "Help": "帮助"})
        complaint = "b.json and all.json translate 'Lines' differently: keep one."
        assert run() == ([complaint], None)
        assert 'msgid "Lines"\nmsgstr "号码"' in (project / translations.PO).read_text()
        assert run("--check")[1] == "1 problems with translations, listed above."


class TestCheck:
    @pytest.mark.parametrize(
        ("key", "chinese", "complaint"),
        [
            ("Lines", "", "templates/home.html:2: no Chinese for 'Lines'."),
            ("Gone", "没有了", "'Gone' is translated, but nowhere used."),
            (
                "%(n)d line",
                "号码",
                "billing/words.py:7: '%(n)d line' has %(n)d, its Chinese no placeholder.",
            ),
            (
                "Hello %(name)s, you save 5%%.",
                "%(nome)s，你好，为你节省 5%%。",
                "templates/home.html:5: 'Hello %(name)s, you save 5%%.' has %(name)s, "
                "its Chinese %(nome)s.",
            ),
            (
                "Hello %(name)s, you save 5%%.",
                "%(name)s，你好，为你节省 5%。",
                "templates/home.html:5: the Chinese of 'Hello %(name)s, you save 5%%.' has a lone "
                "%: write %%.",
            ),
            (
                "Help",
                "需要帮助吗?",
                "templates/home.html:4: the Chinese of 'Help' has a half-width mark: "
                "'需要帮助吗?'.",
            ),
        ],
    )
    def test_fails_and_names_the_text(self, project, run, key, chinese, complaint):
        run()
        write(project, "locale/pairs/b.json", {key: chinese})
        pairs = {k: v for k, v in CHINESE.items() if k != key} | {"It is": "是"}
        write(project, "locale/pairs/all.json", pairs)
        complaints, failure = run("--check")
        assert complaint in complaints
        assert failure == f"{len(complaints)} problems with translations, listed above."

    def test_fails_when_the_catalog_was_not_made_anew(self, project, run):
        complaints, _ = run("--check")
        assert complaints == [
            "locale/zh_Hans/LC_MESSAGES/django.po is not what the texts make of it: "
            "run `make messages`."
        ]
        assert not (project / translations.PO).exists()


class TestEnglish:
    def test_is_its_own_source_with_both_its_plural_forms(self):
        with translation.override("en"):
            told = [ngettext("%(n)d line", "%(n)d lines", n) % {"n": n} for n in (0, 1, 2)]
        assert told == ["0 lines", "1 line", "2 lines"]
