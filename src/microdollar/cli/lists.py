"""What the catalogs hold: devices, models and plans."""

import click

from microdollar.cli.options import print_json
from microdollar.units import format_dollars, format_si


def print_devices(as_json: bool) -> None:
    """Every device of the catalog: alias, name, peak and price."""
    from microdollar.spec.device_catalog import device_aliases
    from microdollar.spec.device_catalog import list_devices as every_device

    aliases = device_aliases()
    devices = every_device()
    if as_json:
        print_json(
            {"devices": [{**d.to_json(), "aliases": list(aliases[d.name])} for d in devices]}
        )
        return
    for device in devices:
        peaks = device.flops_per_second
        dtype = next((name for name in ("bfloat16", "float16", "float32") if name in peaks), None)
        peak = f"{format_si(peaks[dtype], 'FLOP/s')} {dtype}" if dtype else "peak unknown"
        price = device.dollars_per_hour.value
        cost = "price unknown" if price is None else f"{format_dollars(price)}/h"
        click.echo(f"{aliases[device.name][0]:<16} {device.name:<48.48} {peak:<26} {cost}")


def print_models(as_json: bool) -> None:
    """Every model and plan of the catalog: name, parameters, layers and width."""
    from microdollar.spec.load import list_plans
    from microdollar.spec.model_catalog import list_model_specs, model_aliases
    from microdollar.spec.parameters import count_parameters

    models = list_model_specs()
    if as_json:
        aliases = model_aliases()
        rows = [
            {
                "name": model.name,
                "aliases": list(aliases[model.name]),
                "family": model.family,
                "parameters": count_parameters(model).total,
                "published_parameters": model.published_parameters,
                "source": model.source,
            }
            for model in models
        ]
        print_json({"models": rows, "plans": list(list_plans())})
        return
    for model in models:
        count = count_parameters(model).total
        click.echo(
            f"{model.name:<24} {count:>19,} parameters  {model.layers:>3} layers, "
            f"width {model.hidden:,}  ({model.family})"
        )
    for name in list_plans():
        click.echo(f"{name:<24} a plan")
