"""`face3d licenses`: what terms bind the code, the models, and the results made with them."""

from __future__ import annotations

from typing import Annotated

import typer

from face3d_cli.cli import output
from face3d_cli.cli.options import JsonObjectOpt
from face3d_cli.errors import UsageError
from face3d_cli.weights.registry import MODELS_OF_METHOD, model_names, model_spec, models_binding


def licenses(
    method: Annotated[
        str | None,
        typer.Option("--for", metavar="METHOD", help="Only what binds results of this method."),
    ] = None,
    as_json: JsonObjectOpt = False,
) -> None:
    """Show the licence of the code and of every model, and which methods they bind.

    A result is bound by the terms of every model that made it, and by those of the photo.

    Example: face3d licenses --for surrey
    """
    if method is not None and method not in MODELS_OF_METHOD:
        raise UsageError(
            f"there is no method named '{method}'",
            hint=f"expected one of {', '.join(MODELS_OF_METHOD)}",
        )
    code = {
        "what": "face3d (code)",
        "licence": "Apache-2.0",
        "url": "https://www.apache.org/licenses/LICENSE-2.0",
        "non_commercial": False,
        "binds_results_of": [],
    }
    models = [
        {
            "what": spec.name,
            "licence": spec.licence,
            "url": spec.licence_url,
            "non_commercial": spec.non_commercial,
            "binds_results_of": [
                each for each in MODELS_OF_METHOD if spec.name in models_binding(each)
            ],
        }
        for spec in map(model_spec, model_names())
        if method is None or spec.name in models_binding(method)
    ]
    records = models if method else [code, *models]
    if as_json:
        output.json_line({"licences": records})
        return
    output.table(
        ["what", "licence", "commercial use", "binds results of"],
        [
            [
                str(each["what"]),
                str(each["licence"]),
                "no" if each["non_commercial"] else "yes",
                ", ".join(each["binds_results_of"]),  # type: ignore[arg-type]
            ]
            for each in records
        ],
    )
    for each in records:  # whole lines, so that an address can be copied
        output.result(f"{each['what']}: {each['url']}")
