"""What is given on the command line, before Hydra composes it.

Entries of mappings are spelled for Hydra (it wants ``+`` for a new one), and mistakes in an
override are answered with the override that works.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, get_origin, get_type_hints

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from probes.config import SCHEMAS, ModelConfig, SimplifiedConfig, register
from probes.config.files import config_dir
from probes.core.errors import UserError, closest
from probes.core.overrides import override

KEY = re.compile(r"[+~]{0,2}[A-Za-z_][\w./@]*")


def checked(arguments: Sequence[str]) -> list[str]:
    """The arguments of a run as Hydra takes them.

    Raises:
        UserError: an option that there is not, or a value that Hydra cannot read as it is.
    """
    options = get_args_parser()._option_string_actions
    given, is_value = list[str](), False
    for argument in arguments:
        name = argument.partition("=")[0]
        if is_value or argument.startswith("-"):
            if not is_value and name.startswith("--"):
                _check_option(argument, [option for option in options if option.startswith("--")])
            action = options.get(name)
            is_value = not is_value and "=" not in argument and _takes_value(action)
            given.append(argument)
            continue
        given.append(_checked_override(argument))
    _check_engine(given)
    return given


def _check_engine(given: Sequence[str]) -> None:
    """Refuse tasks of Ray inside jobs of Ray: they would wait for the cores that the jobs hold."""
    on_ray = any(word in ("engine=ray", "engine.name=ray") for word in given)
    launchers = [word for word in given if word.startswith("hydra/launcher=ray")]
    if on_ray and launchers:
        raise UserError(
            f"engine=ray and {launchers[-1]}: the tasks of a job would wait for the cores that the "
            "jobs hold",
            fix=f"engine=ray without {launchers[-1]}, which takes the jobs one after another",
        )


def _takes_value(action: Any) -> bool:
    return action is not None and action.nargs != 0


def _check_option(argument: str, options: Sequence[str]) -> None:
    """Refuse what looks like an option and is none of Hydra's, such as a W&B agent's arguments."""
    name, equals, value = argument.partition("=")
    if any(option.startswith(name) for option in options):
        return
    key = name.lstrip("-").replace("-", "_")
    fix = override(key, value) if equals else f"{key}=VALUE"
    raise UserError(
        f"{argument}: keys are given without hyphens (in the command of a W&B sweep: "
        "${args_no_hyphens} instead of ${args})",
        allowed="KEY=VALUE, and the options of --hydra-help",
        fix=fix,
    )


def _checked_override(text: str) -> str:
    key, equals, value = text.partition("=")
    if not equals and not key.startswith("~"):
        raise UserError(f"{text}: an override is KEY=VALUE", fix=f"{text or 'KEY'}=VALUE")
    if not KEY.fullmatch(key):
        raise UserError(f"{text}: {key!r} is not a key", allowed="KEY=VALUE", fix="--help")
    try:
        OverridesParser.create().parse_override(text)
    except HydraException:
        raise UserError(
            f"{text}: the value has characters that need quotes, for the shell and for Hydra",
            fix=override(key, value),
        ) from None
    return f"++{text}" if key[0] not in "+~" and _in_mapping(key) else text


def mappings() -> set[str]:
    """Keys that hold mappings, whose entries a user may add: ``corpus.labels``, ...

    >>> sorted(mappings())[:3]
    ['corpus.classes', 'corpus.cut', 'corpus.labels']
    """
    owners: list[tuple[str, type]] = [
        (group, schema) for group, schemas in SCHEMAS.items() for schema in schemas.values()
    ]
    owners += [("model", ModelConfig), ("model.simplified", SimplifiedConfig)]
    return {
        f"{group}.{name}"
        for group, schema in owners
        for name, kind in get_type_hints(schema).items()
        if get_origin(kind) is dict
    }


def _in_mapping(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in mappings())


def explained(error: HydraException, overrides: Sequence[str]) -> UserError | None:
    """Our message for what Hydra refused: a key or a choice that there is not."""
    text = str(error)
    key = re.search(
        r"Could not (?:override|append to config|delete from config)[^'\\n]*'([^']+)'", text
    )
    config = composed_choices(overrides)
    if key is not None and config is not None:
        return unknown_key(key[1], _value_of(key[1], overrides), config)
    choice = re.search(r"Could not find '([\w-]+)/([^']+)'\n+Available options in '[^']+':\n", text)
    if choice is not None:
        choices = [line.strip() for line in text[choice.end() :].splitlines() if line.strip()]
        choices = choices[: next((i for i, c in enumerate(choices) if " " in c), None)]
        group, name = choice.groups()
        return UserError(
            f"{group}={name}: no such choice",
            allowed=", ".join(choices),
            fix=closest(name, choices, f"{group}={{}}"),
        )
    if text.startswith("Ambiguous value for argument"):
        return _ambiguous(text, overrides)
    return None


def _ambiguous(text: str, overrides: Sequence[str]) -> UserError | None:
    for given in overrides:
        key, _, value = given.partition("=")
        if f"'{given}'" in text:
            config = composed_choices(overrides)
            name = key.lstrip("+")
            is_list = config is not None and _is_list(config, name)
            fix = f"{key}=[{value}]" if is_list else override(key, value)
            return UserError(f"{given}: several values, which only a sweep takes",
                             allowed="one value, or a sweep with -m",
                             fix=f"{fix}, or -m {given}")  # fmt: skip
    return None


def _is_list(config: DictConfig, key: str) -> bool:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    kind = OmegaConf.get_type(node) if isinstance(node, DictConfig) else None
    if kind is None or not dataclasses.is_dataclass(kind):
        return isinstance(OmegaConf.select(config, key), ListConfig)
    hint = get_type_hints(kind).get(name)
    return "list[" in str(hint)


def composed_choices(overrides: Sequence[str]) -> DictConfig | None:
    """The configuration with the groups' choices alone: what keys there are."""
    groups = {path.name for path in config_dir().iterdir() if path.is_dir()} - {"hydra"}
    choices: dict[str, str] = {}
    for given in overrides:
        key, _, value = given.partition("=")
        if key in groups:
            choices[key] = value.split(",")[0]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return compose("config", overrides=[f"{k}={v}" for k, v in choices.items()])
    except HydraException:
        return None


def composed(overrides: Sequence[str]) -> DictConfig:
    """The configuration of a run with these overrides, without running anything.

    Raises:
        UserError: an override that is none, or a key or choice that there is not.
    """
    register()
    given = checked(overrides)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return compose("config", overrides=given)
    except HydraException as error:
        raise explained(error, given) or error from error


def _value_of(key: str, overrides: Sequence[str]) -> str:
    for given in overrides:
        name, equals, value = given.partition("=")
        if equals and name.lstrip("+~") == key:
            return value
    return "VALUE"


def unknown_key(
    key: str, value: str, config: DictConfig, *, without: Container[str] = ()
) -> UserError:
    """The message about a key that a run does not have, with the one nearest in spelling.

    without: keys of ``config`` that a run does not have either.
    """
    names = [name for name in leaves(config) if not _below(name, without)]
    parts, known = key.split("."), set(names)
    # The first part that is not there, with those before it.
    depth = next((d for d in range(len(parts)) if ".".join(parts[: d + 1]) not in known), 0)
    parent, rest = ".".join(parts[:depth]), "".join(f".{part}" for part in parts[depth + 1 :])
    siblings = [name.rpartition(".")[2] for name in names if name.rpartition(".")[0] == parent]
    prefix = f"{parent}." if parent else ""
    same_name = [name for name in names if name.rpartition(".")[2] == parts[-1]]
    near = closest(parts[depth], siblings, f"{prefix}{{}}{rest}")
    helpful = [name for name in (*same_name, near) if name and _takes(config, name, value)]
    return UserError(
        f"{key}: a run has no such key",
        allowed=", ".join(f"{prefix}{sibling}" for sibling in siblings),
        fix=override(helpful[0], value) if helpful else "--help, which lists all keys",
    )


def _below(name: str, keys: Container[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[: depth + 1]) in keys for depth in range(len(parts)))


def _takes(config: DictConfig, key: str, value: str) -> bool:
    """Whether an override would be accepted."""
    changed = copy.deepcopy(config)
    OmegaConf.set_struct(changed, not _in_mapping(key))
    try:
        parsed = OverridesParser.create().parse_override(override(key, value))
        OmegaConf.update(changed, key, parsed.value(), force_add=_in_mapping(key))
    except (OmegaConfBaseException, HydraException):
        return value == "VALUE"
    return True


def leaves(config: DictConfig, prefix: str = "") -> Iterator[str]:
    """Dotted names of all keys."""
    for key in map(str, config):
        value = config._get_node(key)
        yield f"{prefix}{key}"
        if isinstance(value, DictConfig) and not value._is_missing() and not value._is_none():
            yield from leaves(value, f"{prefix}{key}.")


def check_keys(config: DictConfig) -> None:
    """Refuse keys that the typed configuration does not have, such as ``+`` lets Hydra add.

    Raises:
        UserError: the first of them; or a choice of a group that does not extend a schema.
    """
    unknown = dict(_unknown(config))
    for key, value in unknown.items():
        plain = isinstance(value, str | int | float)
        raise unknown_key(key, str(value) if plain else "VALUE", config, without=set(unknown))
    for group in SCHEMAS:
        choice = config._get_node(group)
        if isinstance(choice, DictConfig) and OmegaConf.get_type(choice) is dict:
            raise no_schema(group, choice)


def _unknown(config: DictConfig, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Keys that are in no dataclass, below every dataclass of a configuration."""
    kind = OmegaConf.get_type(config)
    if not dataclasses.is_dataclass(kind):
        return
    names = {field.name for field in dataclasses.fields(kind)}
    for name in map(str, config):
        key, value = f"{prefix}{name}", config._get_node(name)
        if name not in names:
            yield key, value._value() if isinstance(value, Node) else value
        elif isinstance(value, DictConfig) and not (value._is_missing() or value._is_none()):
            yield from _unknown(value, f"{key}.")


def no_schema(group: str, value: Mapping[Any, Any]) -> UserError:
    """The message about a YAML file of a group that says not what it extends."""
    schemas = list(SCHEMAS[group])
    name = str(value.get("name", ""))
    schema = name if name in schemas else closest(name, schemas) or schemas[-1]
    return UserError(
        f"{group}: the chosen file of conf/{group}/ does not say what it extends; it begins with "
        f"the lines 'defaults:', '  - /schema/{group}@_here_: KIND' and '  - _self_'",
        allowed="KIND: " + ", ".join(schemas),
        fix=f"the line '  - /schema/{group}@_here_: {schema}'",
    )
