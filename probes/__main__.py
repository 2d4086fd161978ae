"""``python -m probes COMMAND``: what is done with finished runs, and what is known of heads.

Exit status as for runs: 0 done, 2 the user can fix it, 1 a bug (with its traceback), 130
interrupted. Each command adds its arguments in one function and runs in another; heavy libraries
are imported by what runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.cli.main import describe
from probes.core.errors import UserError, closest

if TYPE_CHECKING:
    from probes.analysis.runs import Run
    from probes.reporting.difference import Difference


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that was given (default: of this process); the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m probes",
        description="Work with finished runs. To make one: python train.py, or headprobes.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_compare(commands)
    _add_catalogue(commands)
    given = parser.parse_args(arguments)
    try:
        given.run_command(given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        message = describe(error)
        if isinstance(error, PermissionError):
            message = f"no permission to read {error.filename}"
        if message is None:
            traceback.print_exception(error)
            return 1
        print(f"error: {message}", file=sys.stderr)
        return 2
    return 0


def _add_compare(commands: Any) -> None:
    what = "difference of two maps, with intervals"
    parser = commands.add_parser(
        "compare",
        help=what,
        description=f"The {what}: first run minus second, of the same corpus and split. Linear "
        "against MLP, one checkpoint against another; or one run twice with --other-probe "
        "random_init: trained against random weights. Of two atlases: which functions both models "
        "have, and at which relative depth.",
    )
    parser.add_argument(
        "first", metavar="RUN", type=Path, help="directory of a finished run or atlas"
    )
    parser.add_argument("second", metavar="RUN", type=Path, help="what is subtracted from it")
    parser.add_argument("--feature", metavar="F", help="only this one; default: all in common")
    parser.add_argument("--site", metavar="S", help="heads (default), residual, all_heads, ...")
    parser.add_argument("--probe", metavar="P", help="linear, mlp, random_init, ... of the first")
    parser.add_argument("--other-probe", metavar="P", help="of the second; default: its own")
    parser.add_argument(
        "--confidence", metavar="C", type=_share, default=0.95, help="of intervals; default 0.95"
    )
    parser.add_argument(
        "--png", metavar="FILE", type=Path, help="draw here (FILE.FEATURE for several), and an SVG"
    )
    parser.add_argument("--json", action="store_true", help="print JSON for programs instead")
    parser.set_defaults(run_command=_compare)


def _compare(given: argparse.Namespace) -> None:
    """Print, draw or write out the differences of all features in common."""
    from rich.console import Console

    from probes.analysis.runs import load_run
    from probes.reporting.difference import as_json, print_difference
    from probes.results.atlas import is_atlas

    if is_atlas(given.first) or is_atlas(given.second):
        _compare_atlases(given)
        return
    first, second = load_run(given.first), load_run(given.second)
    features = _common(first, second, given.feature)
    shown = [_difference(first, second, feature, given) for feature in features]
    pictures = _draw(shown, given.png) if given.png else []
    if given.json:
        content = {
            "schema": 1,
            "confidence": given.confidence,
            "features": [as_json(one) for one in shown],
            "pictures": [str(path) for path in pictures],
        }
        print(json.dumps(content, indent=1, allow_nan=False))
        return
    console = Console(highlight=False)
    for one in shown:
        print_difference(one, console)
    for path in pictures:
        console.print(f"picture: {path}", markup=False, soft_wrap=True)


def _compare_atlases(given: argparse.Namespace) -> None:
    """Print, draw or write out which functions two models share by relative depth."""
    from rich.console import Console

    from probes.atlas.transfer import to_json, transfers
    from probes.results.atlas import is_atlas, load_atlas

    for one in (given.first, given.second):
        if not is_atlas(one) and (one / "run.json").is_file():
            raise UserError(
                f"{one} is a run, the other one an atlas",
                allowed="two runs, or two atlases",
                fix="one of the runs below corpora/ of the atlas",
            )
    for name in ("site", "probe", "other_probe"):
        if getattr(given, name) is not None:
            option = name.replace("_", "-")
            raise UserError(
                f"--{option}: atlases have one probe for each head", fix=f"no --{option}"
            )
    first, second = load_atlas(given.first), load_atlas(given.second)
    found = transfers(first, second, given.feature)
    pictures: list[Path] = []
    if given.png:
        from probes.atlas.transfer_figure import save_transfers

        png = _png(given.png)
        with _writing(given.png):
            pictures = save_transfers(found, first, second, png)
    if given.json:
        content = to_json(found, first, second) | {"pictures": [str(path) for path in pictures]}
        print(json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False))
        return
    from probes.atlas.transfer_figure import print_transfers

    console = Console(highlight=False)
    print_transfers(found, first, second, console)
    for path in pictures:
        console.print(f"picture: {path}", markup=False, soft_wrap=True)


def _add_catalogue(commands: Any) -> None:
    what = "what heads are known to do, and the corpus and feature that decode it"
    parser = commands.add_parser("catalogue", help=what, description=f"Print {what}.")
    parser.add_argument("--stage", metavar="S", help="only this one: KR, ICI, LR or EP")
    parser.add_argument(
        "--encoder", action="store_true", help="only what an encoder can be asked for"
    )
    parser.add_argument("--json", action="store_true", help="print JSON for programs instead")
    parser.set_defaults(run_command=_catalogue)


def _catalogue(given: argparse.Namespace) -> None:
    """Print the entries that were asked for."""
    from probes.catalogue import load_catalogue

    entries = load_catalogue(stage=given.stage, encoder=given.encoder)
    if given.json:
        listed = [{**entry.to_json(), "overrides": entry.overrides} for entry in entries]
        print(json.dumps({"schema": 1, "entries": listed}, indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    from probes.catalogue.table import print_catalogue

    print_catalogue(entries, Console(highlight=False))


def _common(first: Run, second: Run, asked: str | None) -> list[str]:
    """The features of both runs, in the order of the first; or the one that was asked for."""
    names = [name for name in first.features if name in second.features]
    if not names:
        raise UserError(
            "the runs have no feature in common: "
            f"{', '.join(first.features)} against {', '.join(second.features)}"
        )
    if asked is None:
        return names
    if asked not in names:
        raise UserError(
            f"--feature {asked}: not a feature of both runs",
            allowed=", ".join(names),
            fix=f"--feature {closest(asked, names)}",
        )
    return [asked]


def _difference(first: Run, second: Run, feature: str, given: argparse.Namespace) -> Difference:
    from probes.reporting.difference import Difference, Side

    subject = first.subject(site=given.site, probe=given.probe)
    site, probe = subject.site, subject.probe
    other = second.subject(site=site, probe=given.other_probe or given.probe).probe
    found = first.compare(
        second, feature, site=site, probe=probe, other_probe=other, confidence=given.confidence
    )
    return Difference(
        feature=feature,
        site=site,
        first=Side(given.first, first.record, probe),
        second=Side(given.second, second.record, other),
        confidence=given.confidence,
        found=found,
    )


def _draw(shown: Sequence[Difference], png: Path) -> list[Path]:
    from probes.reporting.difference import save_difference
    from probes.reporting.drawing.maps import file_name

    stem = _png(png).name.removesuffix(".png")
    names = [
        f"{stem}.{file_name(d.feature)}.png" if len(shown) > 1 else f"{stem}.png" for d in shown
    ]
    with _writing(png):
        return [
            path
            for one, name in zip(shown, names, strict=True)
            for path in save_difference(one, png.parent / name)
        ]


def _png(png: Path) -> Path:
    """The file to draw into, its name ending as such files do."""
    if png.is_dir():
        raise UserError(f"--png {png}: a directory lies there", fix=f"--png {png / 'map.png'}")
    return png.with_name(png.name.removesuffix(".png") + ".png")


@contextlib.contextmanager
def _writing(png: Path) -> Iterator[None]:
    """Say which file cannot be written, and how it was asked for."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"--png {png}: {error.filename}: {error.strerror}",
            fix="--png FILE in a folder you may write to",
        ) from None


def _share(text: str) -> float:
    """A number between 0 and 1, both excluded."""
    value = float(text)
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
