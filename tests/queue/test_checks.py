import pytest
from django.conf import settings as project_settings
from django.core import checks as django_checks
from django.db import connections

from portal import checks
from portal.environment import env
from portal.supervision import queue_settings

SAFE = project_settings.Q_CLUSTER


def ids(found):
    return [message.id for message in found]


def refused(settings, **wrong):
    settings.Q_CLUSTER = SAFE | wrong
    return sorted(set(ids(checks.queue_settings_are_safe())))


class TestTheProjectsOwnSettings:
    def test_are_safe(self):
        assert checks.queue_settings_are_safe() == []
        assert checks.database_settings_are_safe() == []

    @pytest.mark.parametrize("workers", [1, 2, 3, 7, 16])
    def test_are_safe_with_any_number_of_workers(self, settings, monkeypatch, workers):
        monkeypatch.setenv("KEEPLINE_WORKERS", str(workers))
        monkeypatch.setenv("KEEPLINE_TASK_TIMEOUT_S", "45")
        settings.Q_CLUSTER, settings.Q_CLUSTER_NAMES = queue_settings.clusters(env)
        assert settings.Q_CLUSTER["workers"] == workers
        assert checks.queue_settings_are_safe() == []


class TestQueueSettings:
    @pytest.mark.parametrize(
        ("wrong", "number"),
        [
            ({"orm": "other"}, "keepline.E001"),
            ({"orm": None}, "keepline.E001"),
            ({"ack_failures": False}, "keepline.E002"),
            ({"ack_failures": 1}, "keepline.E002"),
            ({"catch_up": True}, "keepline.E003"),
            ({"save_limit": 0}, "keepline.E004"),
            ({"save_limit": 250}, "keepline.E004"),
            ({"guard_cycle": 0.3}, "keepline.E005"),
            ({"recycle": 500}, "keepline.E006"),
            ({"sync": True}, "keepline.E007"),
            ({"bulk": 20}, "keepline.E008"),
            ({"broker_class": "somebody.Broker"}, "keepline.E009"),
            ({"redis": {"host": "localhost"}}, "keepline.E009"),
            ({"timeout": 59.5}, "keepline.E010"),
            ({"timeout": None}, "keepline.E010"),
            ({"timeout": True}, "keepline.E010"),
            ({"timeout": 0}, "keepline.E010"),
            ({"queue_limit": None}, "keepline.E011"),
            ({"queue_limit": 50}, "keepline.E011"),
            ({"retry": 61}, "keepline.E012"),
            ({"retry": None}, "keepline.E012"),
            ({"timeout": 29, "retry": 10_000}, "keepline.E013"),
        ],
    )
    def test_refuse_a_wrong_value_and_say_what_to_do(self, settings, wrong, number):
        settings.CALL_TIMEOUT_S = 10
        assert refused(settings, **wrong) == [number]
        assert all(message.hint for message in checks.queue_settings_are_safe())

    def test_refuse_a_lock_that_is_one_second_too_short(self, settings):
        shape = {"workers": 2, "queue_limit": 2, "timeout": 60, "ALT_CLUSTERS": {}}
        settings.Q_CLUSTER_NAMES = ("money",)
        # the tasks under way, a full queue, then the row itself: 3 rounds of 63 s, and 15 s
        assert refused(settings, **shape, retry=3 * 63 + 15) == []
        assert refused(settings, **shape, retry=3 * 63 + 14) == ["keepline.E012"]

    def test_judge_the_second_cluster_by_its_own_settings(self, settings):
        settings.Q_CLUSTER = SAFE | {"ALT_CLUSTERS": {"slow": {"workers": 1, "queue_limit": 9}}}
        [error] = checks.queue_settings_are_safe()
        assert error.id == "keepline.E011"
        assert "'slow'" in error.msg


class TestDatabaseSettings:
    @pytest.mark.parametrize(
        ("wrong", "number"),
        [
            ({"CONN_MAX_AGE": 59}, "keepline.E020"),
            ({"CONN_MAX_AGE": 0}, "keepline.E020"),
            ({"CONN_HEALTH_CHECKS": False}, "keepline.E021"),
            ({"ATOMIC_REQUESTS": True}, "keepline.E022"),
        ],
    )
    def test_refuse_a_wrong_value(self, monkeypatch, settings, wrong, number):
        for name, value in wrong.items():
            monkeypatch.setitem(settings.DATABASES["default"], name, value)
        assert ids(checks.database_settings_are_safe()) == [number]

    def test_accept_connections_kept_for_ever(self, monkeypatch, settings):
        monkeypatch.setitem(settings.DATABASES["default"], "CONN_MAX_AGE", None)
        assert checks.database_settings_are_safe() == []


@pytest.mark.django_db
class TestTheDatabase:
    def test_is_asked_for_its_version(self):
        assert checks.database_is_postgresql(databases=["default"]) == []

    def test_is_refused_when_it_is_too_old(self, monkeypatch):
        monkeypatch.setattr(checks, "OLDEST_POSTGRESQL", 99)
        [error] = checks.database_is_postgresql(databases=["default"])
        assert error.id == "keepline.E023"
        assert error.msg == (
            f"Database 'default' is PostgreSQL {connections['default'].pg_version // 10_000}: "
            "point DATABASE_URL at PostgreSQL 99 or newer."
        )

    def test_is_left_alone_where_databases_are_not_checked(self):
        assert checks.database_is_postgresql(databases=None) == []


class TestStoppedRails:
    def test_are_reported_one_by_one_with_the_missing_setting(self, settings):
        settings.RAILS_STOPPED = {"alipay": "ALIPAY_APP_ID must be set (or ALIPAY_APP_ID_FILE)."}
        [warning] = checks.every_rail_runs()
        assert (warning.id, warning.level) == ("keepline.W001", django_checks.WARNING)
        assert "'alipay'" in warning.msg
        assert "ALIPAY_APP_ID" in warning.msg

    def test_are_silent_when_there_are_none(self, settings):
        settings.RAILS_STOPPED = {}
        assert checks.every_rail_runs() == []


class TestEveryCheck:
    def test_is_registered(self):
        registered = django_checks.registry.registry.get_checks(include_deployment_checks=True)
        assert {
            checks.queue_settings_are_safe,
            checks.database_settings_are_safe,
            checks.database_is_postgresql,
            checks.every_rail_runs,
        } <= set(registered)
