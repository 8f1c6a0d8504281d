"""The contract of a line: read, previewed, drafted, confirmed; paused, skipped, stopped."""

import re
from dataclasses import fields
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import get_language
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing import gateways, queries
from billing.gateways.base import Capabilities
from billing.models import Binding, Rule
from billing.plans import contract
from lines.models import Line, LineStatus
from portal import owned
from portal.api import throttles
from portal.api.idempotency import idempotent
from portal.api.openapi import if_match, may_answer
from portal.api.refusals import VersionMalformed, VersionMissing, VersionStale, WordsStale
from portal.api.serializers.rules import ConfirmIn, PauseIn, PreviewOut, RuleOut, SkipIn, TermsIn
from portal.api.views import named
from portal.api.views.base import View

_ETAG = re.compile(r'"([0-9]{1,9})"')


class RuleView(View):
    """One rule a line. Only `confirm` turns it on; nothing else ever does."""

    tag = noun = "rules"
    queryset = Rule.objects.none()

    @extend_schema(summary="My rules", responses=RuleOut(many=True))
    def list(self, request: Request) -> Response:
        return self.page(_mine(request), RuleOut)

    @extend_schema(
        summary="The rule of a line",
        responses=RuleOut,
    )
    def retrieve(self, request: Request, line: str) -> Response:
        return _shown(_one(request, line))

    @extend_schema(
        summary="What terms would do",
        description="Changes nothing. Show `consent_text` before `confirm`.",
        request=TermsIn,
        responses=PreviewOut,
    )
    @may_answer(503)
    def preview(self, request: Request, line: str) -> Response:
        draft = self._draft(owned.line(self.actor, line), self.asked(TermsIn))
        at = timezone.now()
        return Response(_previewed(draft, _checked(draft, at=at), at=at))

    @extend_schema(
        summary="Keep terms for later",
        description="The rule stays off. A rule that runs takes new terms by `confirm` alone.",
        request=TermsIn,
        responses=RuleOut,
        parameters=[if_match(required=False)],
    )
    @may_answer(409, 503)
    @idempotent()
    def save_draft(self, request: Request, line: str) -> Response:
        mine = owned.line(self.actor, line)
        draft = self._draft(mine, self.asked(TermsIn))
        # Line before rule, as everywhere: who would write meanwhile waits here.
        Line.objects.select_for_update(no_key=True).get(pk=mine.pk)
        if standing := Rule.objects.filter(line=mine).first():
            _check_seen(request, standing, required=True)
        contract.save_draft(
            draft=draft, capabilities=_capabilities(draft.binding), at=timezone.now()
        )
        return _shown(_one(request, line))

    @extend_schema(
        summary="Agree, and turn the rule on",
        description="With the version and the words that were shown. Charges follow from here.",
        request=ConfirmIn,
        responses=RuleOut,
        parameters=[if_match(required=True)],
    )
    @may_answer(503)
    @idempotent(required=True)
    def confirm(self, request: Request, line: str) -> Response:
        rule, values = _one(request, line), self.asked(ConfirmIn)
        terms = values.get("terms")
        _check_seen(request, rule, required=True)
        draft = self._draft(rule.line, terms) if terms else contract.draft_of(rule)
        at = timezone.now()
        capabilities = _checked(draft, at=at)
        if values["consent_text"] != _previewed(draft, capabilities, at=at)["consent_text"]:
            raise WordsStale
        contract.confirm(
            rule=rule,
            owner=owned.person(request),
            seen_version=rule.version,
            capabilities=capabilities,
            language=get_language() or "en",
            ip=throttles.address_of(request),
            user_agent=request.headers.get("User-Agent", "")[:200],
            at=at,
            draft=draft if terms else None,
        )
        return _shown(_one(request, line))

    @extend_schema(
        summary="Charge nothing until",
        request=PauseIn,
        responses=RuleOut,
        parameters=[if_match(required=False)],
    )
    @idempotent()
    def pause(self, request: Request, line: str) -> Response:
        rule, until = _locked(request, line), self.asked(PauseIn)["until"]
        contract.pause(rule=rule, until=until, at=timezone.now())
        return _shown(_one(request, line))

    @extend_schema(
        summary="End the owner's pause",
        request=None,
        responses=RuleOut,
        parameters=[if_match(required=False)],
    )
    @idempotent()
    def resume(self, request: Request, line: str) -> Response:
        contract.resume(rule=_locked(request, line), at=timezone.now())
        return _shown(_one(request, line))

    @extend_schema(
        summary="Skip the next scheduled charge",
        request=SkipIn,
        responses=RuleOut,
        parameters=[if_match(required=False)],
    )
    @idempotent()
    def skip(self, request: Request, line: str) -> Response:
        rule, index = _locked(request, line), self.asked(SkipIn).get("index")
        contract.skip_next(rule=rule, at=timezone.now(), seen_index=index)
        return _shown(_one(request, line))

    @extend_schema(
        summary="Do not skip it after all",
        request=None,
        responses=RuleOut,
        parameters=[if_match(required=False)],
    )
    @idempotent()
    def unskip(self, request: Request, line: str) -> Response:
        contract.unskip(rule=_locked(request, line), at=timezone.now())
        return _shown(_one(request, line))

    @extend_schema(
        summary="Stop auto-recharge",
        description="At once. Only a new `confirm` turns it on again.",
        request=None,
        responses=RuleOut,
        parameters=[if_match(required=False)],
    )
    @idempotent()
    def stop(self, request: Request, line: str) -> Response:
        contract.stop(rule=_locked(request, line), because="owner", at=timezone.now())
        return _shown(_one(request, line))

    def _draft(self, line: Line, terms: dict[str, Any]) -> contract.Draft:
        """The terms as the domain takes them; what was left out is the domain's default."""
        values = dict(terms)
        for name in ("binding", "fallback_binding"):
            ref = values.pop(name, None)
            values[name] = named.binding(self.actor, ref, field=name) if ref else None
        for name in ("remind_days_before", "channels"):
            if name in values:
                values[name] = tuple(values[name])
        return contract.Draft(line=line, **values)


def _mine(request: Request) -> QuerySet[Rule]:
    mine = queries.rules(request.user).exclude(line__status=LineStatus.REMOVED)
    return mine.select_related(
        "line__carrier", "binding__rail", "fallback_binding__rail", "consent"
    )


def _one(request: Request, line: str) -> Rule:
    return get_object_or_404(_mine(request), line__public_id=line)


def _locked(request: Request, line: str) -> Rule:
    """The rule, locked; and as the caller saw it, where it says which it saw."""
    mine = _mine(request).select_for_update(no_key=True, of=("self",))
    rule = get_object_or_404(mine, line__public_id=line)
    _check_seen(request, rule, required=False)
    return rule


def _check_seen(request: Request, rule: Rule, *, required: bool) -> None:
    seen = _seen_version(request)
    if seen is None and required:
        raise VersionMissing
    if seen is not None and seen != rule.version:
        raise VersionStale


def _seen_version(request: Request) -> int | None:
    """The version in If-Match, None without one. Raises VersionMalformed."""
    header = request.headers.get("If-Match")
    if header is None:
        return None
    found = _ETAG.fullmatch(header.strip())
    if found is None:
        raise VersionMalformed
    return int(found.group(1))


def _capabilities(binding: Binding | None) -> Capabilities | None:
    return gateways.capabilities(binding.rail_id) if binding else None


def _checked(draft: contract.Draft, *, at: datetime) -> Capabilities:
    """What the draft's rail allows, where the draft can run. Raises InvalidDraft."""
    capabilities = _capabilities(draft.binding)
    contract.check(draft=draft, capabilities=capabilities, at=at)
    if capabilities is None:
        raise AssertionError("a draft without a payment method passed the check")
    return capabilities


def _previewed(
    draft: contract.Draft, capabilities: Capabilities, *, at: datetime
) -> dict[str, Any]:
    shown = contract.preview(draft=draft, capabilities=capabilities, at=at)
    language = get_language() or "en"
    words = contract.consent_text(draft=draft, preview=shown, language=language)
    more = {
        "lead_s": int(shown.lead.total_seconds()),
        "latest_delay_s": int(shown.latest_delay.total_seconds()),
        "sentences": contract.sentences(
            draft=draft, preview=shown, capabilities=capabilities, language=language, at=at
        ),
        "consent_text": words.text,
        "consent_version": words.version,
    }
    figures = {field.name: getattr(shown, field.name) for field in fields(shown)}
    return dict(PreviewOut(figures | more).data)


def _shown(rule: Rule) -> Response:
    return Response(RuleOut(rule).data, headers={"ETag": f'"{rule.version}"'})
