#!/usr/bin/env bash
# factory_boy 3.3.3: a trait that nobody asked for spells out every value of the object being built.
#
# Met when one factory a model, with some twenty traits, was four times slower than the rows it made.
# For each field a trait would set, factory_boy looks the trait's flag up in the values made so far;
# where the flag was not given that raises AttributeError, whose text holds the repr() of every value
# and declaration, and the error is then swallowed in favour of the default, False. So the cost of a
# build grows with (fields of unset traits) x (values), and a value whose repr() does something (a
# Django QuerySet asks the database for up to 21 rows) does it, though nobody prints anything.
# A flag given as False costs none of it. Seen: 40 repr() calls for one build with 5 unset traits
# of 8 fields; 0 with the flags given.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check factory-boy==3.3.3 Faker==40.63.0
"$folder/venv/bin/python" - <<'PY'
import importlib.metadata

import factory


class Value:
    """Counts how often it is spelt out."""

    told = 0

    def __repr__(self) -> str:
        Value.told += 1
        return "Value()"


class Thing:
    def __init__(self, **fields: object) -> None:
        self.fields = fields


FIELDS = [f"field_{number}" for number in range(8)]
TRAITS = [f"trait_{number}" for number in range(5)]
Params = type("Params", (), {name: factory.Trait(**dict.fromkeys(FIELDS, 1)) for name in TRAITS})
ThingFactory = type(
    "ThingFactory",
    (factory.Factory,),
    {
        "Meta": type("Meta", (), {"model": Thing}),
        "Params": Params,
        "value": factory.LazyFunction(Value),
        **dict.fromkeys(FIELDS, 0),
    },
)


def spelt_out(**flags: bool) -> int:
    Value.told = 0
    ThingFactory.build(**flags)
    return Value.told


unset, given = spelt_out(), spelt_out(**dict.fromkeys(TRAITS, False))
print(f"factory_boy {importlib.metadata.version('factory-boy')}:")
print(f"  repr() calls of one value in one build, 5 traits not asked for: {unset}")
print(f"  the same with every trait given as False: {given}")
assert (unset, given) == (40, 0), "the behaviour has changed"
PY
