"""Whether a W&B run is sent as it goes, or kept to be sent later."""

from __future__ import annotations

import logging
import os

from probes.config import LoggerConfig
from probes.config.choices import choices_of
from probes.reporting.reachable import reachable

log = logging.getLogger(__name__)


def asked_mode(mode: str) -> str:
    """``auto`` as the environment settles it (``WANDB_MODE``); else as it is.

    >>> asked_mode("offline")
    'offline'
    """
    if mode != "auto":
        return mode
    asked = os.environ.get("WANDB_MODE", "")
    if asked == "dryrun":  # W&B's older word for it
        return "offline"
    return asked if asked in choices_of(LoggerConfig, "mode") else "auto"


def wandb_mode(mode: str) -> str:
    """online, offline or disabled; ``auto`` is online if logged in, else offline.

    A run that is to be online without a key, or without a network, is kept offline with a warning:
    W&B would ask for the key, or wait.
    """
    asked = asked_mode(mode)
    if asked in ("offline", "disabled"):
        return asked
    if not has_key():
        if asked == "online":
            log.warning("W&B: no key on this machine (wandb login), so this run is kept offline")
        return "offline"
    server = server_address()
    if reachable(server):
        return "online"
    log.warning("W&B: %s cannot be reached, so this run is kept offline", server)
    return "offline"


def server_address() -> str:
    """Where W&B sends runs to."""
    import wandb

    return str(wandb.setup().settings.base_url)


def has_key() -> bool:
    """Whether this machine has a key of W&B, without asking for one and without the network."""
    import wandb

    try:
        return bool(wandb.login(prompt=False, verify=False))
    except TypeError:  # older versions always ask
        return bool(wandb.api.api_key)
    except Exception as error:
        # A key that cannot be one. Not its words: they may repeat it.
        log.warning("W&B: the key of this machine is refused (%s)", type(error).__name__)
        return False


def key() -> str:
    """The key that W&B would use, so that it can be kept out of everything; else empty."""
    import wandb

    try:
        return str(wandb.api.api_key or "")
    except Exception:  # no such attribute in later versions, or a damaged file of keys
        return ""
