"""Checks Grafana dashboards against the types of Grafana's SDK.

Usage: lint.py DASHBOARD.json...   (one line for each error; the exit code is 1 if there is any)

Grafana accepts any JSON and ignores what it does not understand. This script reports a field that its panel, query or
variable does not have, a value of the wrong type or outside its enumeration, an unknown kind of panel or query, an
override of a field that the panel does not have, and a unit that Grafana cannot format.
"""

import enum
import json
import sys
import types
import typing

from grafana_foundation_sdk.cog import plugins, runtime
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as kinds
from grafana_foundation_sdk.models import units

# Prefixes of custom units, from Grafana's documentation.
OWN_UNITS = ("suffix:", "prefix:", "time:", "si:", "count:", "currency:")
# Fields of an annotation query that are not in its type, which covers only the annotations of Grafana's database.
ANNOTATION = ("target", "titleFormat", "textFormat", "tagKeys", "useValueForTime")
UNITS = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")}


def main(paths):
    plugins.register_default_plugins()
    found = [f"{path}: {complaint}" for path in paths for complaint in lint(path)]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


def lint(path):
    with open(path, encoding="utf-8") as file:
        text = json.load(file)
    found = list(annotations(text))
    found += typed(kinds.Dashboard, text, "dashboard")
    for number, panel in enumerate(panels(text)):
        where = f"panel {number} ({panel.get('title')})"
        found += kind_and_queries(panel, where)
        found += overrides(panel, where)
    for where, unit in units_in(text, "dashboard"):
        if unit not in UNITS and not str(unit).startswith(OWN_UNITS):
            found.append(f"{where}: {unit} is no unit of Grafana's")
    return found


def annotations(text):
    """Takes what is of the data source out of the annotations, and reads their queries."""
    for annotation in text.get("annotations", {}).get("list", []):
        source = annotation["datasource"]["type"]
        if source == "grafana":
            continue
        where = f"annotation {annotation.get('name')}"
        own = {key: annotation.pop(key) for key in ANNOTATION if key in annotation}
        variant = runtime.Runtime().dataquery_variants.get(source)
        if variant is None:
            yield f"{where}: there is no data source of type {source!r}"
        else:
            yield from typed(variant.from_json_hook.__self__, own.get("target", {}), where)


def panels(text):
    for panel in text.get("panels", []):
        yield panel
        yield from panel.get("panels", [])


def typed(kind, text, where):
    """What is lost on the way into a type and back, and what does not fit the type."""
    try:
        value = kind.from_json(text)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        yield f"{where}: not of the shape of {kind.__name__}: {error!r}"
        return
    yield from misfits(value, kind, where)
    yield from lost(text, json.loads(json.dumps(value, cls=JSONEncoder)), where)


def lost(before, after, where):
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in after:
                yield from lost(value, after[key], f"{where}.{key}")
            elif value is not None:
                yield f"{where}.{key}: there is no such field"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after)):
            yield from lost(one, other, f"{where}[{number}]")
    elif before != after:
        yield f"{where}: {before!r} is read as {after!r}"


def misfits(value, hint, where):
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return
        complaints = [list(misfits(value, one, where)) for one in inner if one is not type(None)]
        if all(complaints):
            yield from min(complaints, key=len)
    elif origin is typing.Literal:
        if value not in inner:
            yield wrong(value, f"one of {inner}", where)
    elif origin is list and isinstance(value, list):
        for number, one in enumerate(value):
            yield from misfits(one, inner[0], f"{where}[{number}]")
    elif origin is dict and isinstance(value, dict):
        for key, one in value.items():
            yield from misfits(one, inner[1], f"{where}.{key}")
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        if value not in [one.value for one in hint]:
            yield wrong(value, f"one of {[one.value for one in hint]}", where)
    elif isinstance(value, dict) and hasattr(hint, "from_json"):
        # The SDK leaves some lists as they are.
        yield from typed(hint, value, where)
    elif hasattr(value, "to_json"):
        if isinstance(hint, type) and hint is not object and not isinstance(value, hint):
            yield wrong(value, hint, where)
        for name, one in typing.get_type_hints(type(value)).items():
            yield from misfits(getattr(value, name), one, f"{where}.{name}")
    elif isinstance(hint, type) and hint is not object and not fits(value, hint):
        yield wrong(value, hint, where)


def fits(value, hint):
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


def wrong(value, hint, where):
    return f"{where}: {value!r} is not {getattr(hint, '__name__', hint)}"


def kind_and_queries(panel, where):
    if panel["type"] != "row" and runtime.panelcfg_config(panel["type"]) is None:
        yield f"{where}: there is no panel of type {panel['type']}"
    for target in panel.get("targets", []):
        source = target.get("datasource", panel.get("datasource", {})).get("type", "")
        if source not in runtime.Runtime().dataquery_variants:
            yield f"{where}: query {target.get('refId')}: there is no data source of type {source!r}"


def overrides(panel, where):
    """An override names its field by a path; it is read as if all values were so."""
    config = runtime.panelcfg_config(panel["type"])
    for override in panel.get("fieldConfig", {}).get("overrides", []):
        for item in override.get("properties", []):
            kind, name = kinds.FieldConfig, item["id"]
            if name.startswith("custom.") and config and config.field_config_from_json_hook:
                kind, name = config.field_config_from_json_hook.__self__, name.removeprefix("custom.")
            yield from typed(kind, {name: item["value"]}, f"{where}: override")


def units_in(text, where):
    if isinstance(text, dict):
        if isinstance(text.get("unit"), str):
            yield where, text["unit"]
        if text.get("id") == "unit":
            yield where, text.get("value")
    items = text.items() if isinstance(text, dict) else enumerate(text) if isinstance(text, list) else ()
    for key, value in items:
        yield from units_in(value, f"{where}.{key}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
