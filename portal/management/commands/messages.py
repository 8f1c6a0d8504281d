"""Collects the texts of the interface and merges their Chinese: `make messages`."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from portal import translations
from portal.translations import PO, Text


class Command(BaseCommand):
    help = "Collects the texts, merges locale/pairs/*.json into the .po file, compiles it."
    requires_system_checks: list[str] = []  # it must work while half a page is written

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing, fail if it would")

    def handle(self, *args: Any, check: bool, **options: Any) -> None:
        root = settings.BASE_DIR
        overrides = translations.overrides(root)
        texts = translations.collect(root)
        used = {text.key for text in texts}
        texts += [
            Text(msgid=msgid, where="locale/overrides.json")
            for msgid in sorted(overrides.keys() - used)
        ]
        new, contradictions = translations.pairs(root)
        chinese = translations.merged_before(root) | overrides | new
        catalog = translations.catalog(texts, chinese)
        found = [*contradictions, *translations.problems(texts, chinese)]
        if check:
            path = root / PO
            if not path.exists() or path.read_text() != translations.as_po(catalog):
                found.append(f"{PO} is not what the texts make of it: run `make messages`.")
        else:
            translations.write(root, catalog)
        for problem in found:
            self.stderr.write(problem)
        if check and found:
            raise CommandError(f"{len(found)} problems with translations, listed above.")
        self.stdout.write(f"{len(texts)} texts, {len(found)} problems.")
