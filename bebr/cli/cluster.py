"""bebr cluster: leaves and roots on the nodes of Ray, or on some that are made on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bebr.cli.counts import counted
from bebr.cli.serve import DeviceMemoryMb, Insecure, LeaseSeconds, SearchDevice
from bebr.extras import needed

if TYPE_CHECKING:
    from bebr.cluster.ray_cluster import About, RayCluster
    from bebr.cluster.ray_local import LocalNodes

app = typer.Typer(help="Leaves and roots on the nodes of a Ray cluster: begin, look at, change and end them.")

Name = Annotated[str, typer.Option(help="Of the cluster; one Ray may have several.")]
Ray = Annotated[
    str | None,
    typer.Option(help="Address of Ray's head; by default the nodes of --local, else the Ray of this machine."),
]
Wait = Annotated[float, typer.Option(help="Seconds within which all of them must take calls.", min=0)]


@app.command("up")
def up(
    url: Annotated[str, typer.Argument(metavar="URL", help="Of the database: postgresql://…, as bebr.open has it.")],
    segments: Annotated[str, typer.Option(help="Where segments are, s3://… or file://….")],
    local: Annotated[
        int | None, typer.Option(help="Make so many nodes on this machine, in place of a Ray that there is.", min=1)
    ] = None,
    shards: Annotated[
        int | None, typer.Option(help="Into how many shards collections are split; by default one a node.", min=1)
    ] = None,
    replicas: Annotated[int, typer.Option(help="Leaves for each shard, on different nodes.", min=1)] = 1,
    most_replicas: Annotated[
        int, typer.Option(help="By the load of leaves, up to so many; 0: always --replicas.", min=0)
    ] = 0,
    roots: Annotated[int, typer.Option(help="Roots, on different nodes.", min=1)] = 1,
    port: Annotated[int, typer.Option(help="Of the first root; others have those after it.")] = 7777,
    leaf_mb: Annotated[
        int, typer.Option(help="MiB of memory that a leaf may need: no node gets more leaves than it has room for.")
    ] = 0,
    device: SearchDevice = "cpu",
    device_memory_mb: DeviceMemoryMb = None,
    lease_seconds: LeaseSeconds = None,
    keys: Annotated[
        Path | None, typer.Option(help="Folder whose keys (`bebr keys create`) callers of roots need.")
    ] = None,
    insecure: Insecure = False,
    name: Name = "default",
    address: Ray = None,
    wait: Wait = 120.0,
) -> None:
    """Begin a cluster, and wait until it takes calls. It stays when this command has ended."""
    from bebr.cluster.commands import Commands
    from bebr.cluster.keeping import Plan
    from bebr.cluster.placing import Size

    if local is not None and address is not None:
        raise ValueError("got --local and --address, wanted one of them")
    folder = None if keys is None else str(keys.absolute())
    told = Commands(url, segments, 1, port, lease_seconds, folder, insecure, device, device_memory_mb)
    nodes = _local_nodes(name)
    if local is not None:
        nodes.start(local)
    with _connected(name, address, wait) as cluster:
        there = cluster.nodes(local, wait)
        of = shards or there
        plan = Plan(Size(of, replicas, roots, leaf_mb << 20), most=most_replicas)
        cluster.up(plan, replace(told, shards=of))
        _show(cluster.wait(wait))


@app.command("status")
def status(
    name: Name = "default",
    address: Ray = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON in place of tables.")] = False,
) -> None:
    """Print which process runs where, and how many rows of which shards leaves have."""
    from bebr.cluster.census import census

    with _connected(name, address) as cluster:
        about = cluster.about()
    rows = census(about.addresses("leaf"))
    if as_json:
        shards = {str(shard): leaves for shard, leaves in rows.items()}
        typer.echo(json.dumps({"members": _members(about), "lacking": [*map(str, about.lacking)], "shards": shards}))
        return
    _show(about)
    names = {one.state.address: one.member for one in about.seen if one.state is not None}
    lines = [
        (shard.name, f"{shard.number} of {shard.of}", f"{max(leaves.values()):,}", "  ".join(map(names.get, leaves)))  # type: ignore[arg-type]
        for shard, leaves in rows.items()
    ]
    if lines:
        _print_table(("collection", "shard", "rows", "leaves"), lines)


@app.command("scale")
def scale(
    replicas: Annotated[int | None, typer.Option(help="Leaves for each shard.", min=1)] = None,
    most_replicas: Annotated[
        int | None, typer.Option(help="By the load of leaves, up to so many; 0: always --replicas.", min=0)
    ] = None,
    roots: Annotated[int | None, typer.Option(help="Roots.", min=1)] = None,
    local: Annotated[int | None, typer.Option(help="Nodes on this machine; leaves move to new ones.", min=1)] = None,
    name: Name = "default",
    address: Ray = None,
    wait: Wait = 120.0,
) -> None:
    """Have more or fewer replicas, roots or nodes. Collections keep their number of shards."""
    given = {"replicas": replicas, "roots": roots, "most": most_replicas}
    changes = {key: value for key, value in given.items() if value is not None}
    if not changes and local is None:
        raise ValueError("got nothing to change, wanted --replicas, --most-replicas, --roots or --local")
    nodes = _local_nodes(name)
    if local is not None:
        nodes.start(local)
    with _connected(name, address) as cluster:
        cluster.nodes(local, wait)
        cluster.scale(**changes)  # without changes, too: what it says from now on is of the nodes that there are now
        _show(cluster.wait(wait))


@app.command("drain")
def drain(
    node: Annotated[str, typer.Argument(metavar="NODE", help="Its address, or the beginning of its name.")],
    undo: Annotated[bool, typer.Option("--undo", help="It may have leaves and roots again.")] = False,
    name: Name = "default",
    address: Ray = None,
    wait: Wait = 120.0,
) -> None:
    """Have leaves and roots on a node no more: each is started on another one first. Then the node may go."""
    with _connected(name, address) as cluster:
        (cluster.undrain if undo else cluster.drain)(node)
        _show(cluster.wait(wait))


@app.command("upgrade")
def upgrade(name: Name = "default", address: Ray = None, wait: Wait = 600.0) -> None:
    """Start leaves and roots anew, with the bebr that their nodes have by now, one after the other: a new one takes
    calls before the old one ends."""
    with _connected(name, address) as cluster:
        cluster.upgrade()
        _show(cluster.wait(wait))


@app.command("down")
def down(name: Name = "default", address: Ray = None) -> None:
    """End all processes of a cluster, and its nodes where it has some on this machine. The database stays as it is."""
    nodes = _local_nodes(name)
    with _connected(name, address) as cluster:
        cluster.down()
    if address is None:
        nodes.stop()


def _local_nodes(name: str) -> LocalNodes:
    """Before anything is begun, what it needs must be there."""
    with needed("ray", "bebr cluster"):
        import_module("bebr.cluster.ray_cluster")
    from bebr.cluster.ray_local import LocalNodes

    return LocalNodes(name)


@contextmanager
def _connected(name: str, address: str | None, wait: float = 0.0) -> Iterator[RayCluster]:
    nodes = _local_nodes(name)
    from bebr.cluster.ray_cluster import connected

    with connected(address or nodes.address or os.environ.get("RAY_ADDRESS", "auto"), name, wait) as cluster:
        yield cluster


def _members(about: About) -> list[dict[str, Any]]:
    return [
        {
            **{"member": one.member, "node": one.node, "cores": round(one.cores, 2), "mb": one.bytes >> 20},
            **({} if one.state is None else vars(one.state)),
        }
        for one in sorted(about.seen, key=lambda one: one.member)
    ]


def _show(about: About) -> None:
    lines = [
        (
            one["member"],
            one["node"][:8],
            one.get("address") or "starts",
            str(one.get("pid", "")),
            f"{one['cores']:.2f}",
            f"{one['mb']:,}",
            str(one.get("starts", "")),
        )
        for one in _members(about)
    ]
    _print_table(("process", "node", "address", "pid", "cores", "MiB", "starts"), lines)
    size = about.size
    shards = f"{counted(size.shards, 'shard')} x {counted(size.replicas, 'replica')}"
    what = f"{shards}, {counted(size.roots, 'root')}, {counted(len(about.nodes), 'node')}"
    typer.echo(what + (f"; lacking: {', '.join(map(str, about.lacking))}" if about.lacking else ""))
    if drained := [about.nodes[node] for node in about.plan.drained & about.nodes.keys()]:
        typer.echo(f"drained: {' '.join(sorted(drained))}")
    if roots := about.addresses("root"):
        typer.echo(f"for clients: {' '.join(roots)}")


def _print_table(names: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*names, box=None, pad_edge=False)
    for line in lines:
        table.add_row(*line)
    Console(soft_wrap=True).print(table, markup=False, highlight=False)
