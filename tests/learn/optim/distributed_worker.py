"""One process of several: ``python distributed_worker.py JOB RANK WORLD FOLDER``.

Each job writes what it found to ``FOLDER/JOB.pt``, from rank 0.
"""

import sys
import warnings
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from microdollar.learn.optim import Collins, optimizer_state_bytes, sharded

STEPS = 4
# Two rows of three shards, convolutions, experts seen as 320 rows, a vector, a shard of nothing.
SHAPES = [(65, 80), (34, 16, 3, 3), (8, 40, 56), (33,), (1, 5000), (20, 20)]
OPTIONS = {
    "default": {},
    "4bit": {"m_state": "4bit"},
    "1bit": {"m_state": "1bit"},
    "kept": {"m_state": "2bit", "release": False},
    "tile": {"m_state": "8bit", "v_state": "tile"},
    "8bit": {"m_state": "bf16", "v_state": "8bit"},
    "none": {"m_state": "none", "v_state": "factored", "maximize": True},
    "fp32": {"m_state": "fp32", "v_state": "fp32"},
}
FEW = ("default", "1bit", "fp32")
TRAINED = ("default", "1bit")


class Net(nn.Module):
    """An embedding, a convolution, stacked experts and a head; rows that no power of 2 divides."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(101, 64)
        self.conv = nn.Conv1d(64, 33, 3)
        self.experts = nn.Parameter(torch.randn(8, 33, 56) / 16)
        self.head = nn.Linear(56, 101)
        self.gain = nn.Parameter(torch.ones(3))

    def forward(self, ids):
        hidden = self.conv(self.embed(ids).transpose(1, 2)).tanh().mean(2)
        mixed = torch.einsum("bc,eco->bo", hidden, self.experts)
        return self.head(mixed) * self.gain.sum()


def made(seed=0):
    torch.manual_seed(seed)
    return Net()


def batch(step, part=0, parts=1):
    """The same for every number of processes, cut into ``parts``."""
    ids = torch.randint(101, (8, 12), generator=torch.Generator().manual_seed(step))
    each = len(ids) // parts
    return ids[part * each : (part + 1) * each]


def train(net, optimizer, steps, part=0, parts=1):
    for step in steps:
        ids = batch(step, part, parts)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(ids), ids[:, 0]).backward()
        optimizer.step()


def whole(tensor):
    """A copy of all of a tensor, on every process."""
    tensor = tensor.detach()
    return tensor.full_tensor().clone() if isinstance(tensor, DTensor) else tensor.clone()


def all_of(net, optimizer):
    """Parameters and state by name."""
    found = {}
    for name, param in net.named_parameters():
        found[name] = whole(param)
        for key, value in optimizer.state[param].items():
            found[f"{name}.{key}"] = whole(value)
    return found


def replicas(rank, world, folder):
    """Whether data-parallel replicas stay the same bit for bit, with different batches."""
    equal = {}
    for name in TRAINED:
        net = DistributedDataParallel(made())
        optimizer = Collins(net.parameters(), lr=1e-2, **OPTIONS[name])
        train(net, optimizer, range(STEPS), rank, world)
        equal[name] = True
        for value in all_of(net.module, optimizer).values():
            others = [torch.empty_like(value) for _ in range(world)]
            dist.all_gather(others, value)
            equal[name] &= all(torch.equal(value, other) for other in others)
    return equal


def sharded_steps(rank, world, folder, placements=None, sizes=None, names=tuple(OPTIONS)):
    """Steps of sharded tensors beside the same steps of whole ones, with the same gradients."""
    mesh = init_device_mesh("cpu", sizes or (world,))
    placements = placements or [Shard(0)]
    found = {}
    for name in names:
        options = OPTIONS[name]
        for dtype in (torch.float32, torch.bfloat16):
            torch.manual_seed(1)
            start = [torch.randn(shape, dtype=dtype) for shape in SHAPES]
            plain = [nn.Parameter(value.clone()) for value in start]
            shards = [nn.Parameter(distribute_tensor(value, mesh, placements)) for value in start]
            ours = Collins(shards, lr=1e-2, **options)
            theirs = Collins(plain, lr=1e-2, fused=False, **options)
            for _ in range(2):
                for param, shard in zip(plain, shards, strict=True):
                    param.grad = torch.randn_like(param)
                    shard.grad = distribute_tensor(param.grad, mesh, placements)
                ours.step()
                theirs.step()
            pairs = []
            for param, shard in zip(plain, shards, strict=True):
                state = ours.state[shard]
                assert all(
                    isinstance(value, DTensor) for key, value in state.items() if key != "step"
                )
                pairs.append(("param", whole(param), whole(shard)))
                pairs += [
                    (key, value, whole(state[key])) for key, value in theirs.state[param].items()
                ]
            found[name, dtype] = pairs
    return found


def hybrid_steps(rank, world, folder):
    """The same where two groups of processes each hold everything, sharded over two."""
    return sharded_steps(rank, world, folder, [Replicate(), Shard(0)], (2, 2), FEW)


def nonfinite(rank, world, folder):
    """A gradient that is not finite in the rows of one process only."""
    mesh = init_device_mesh("cpu", (world,))
    found = {}
    for mode in ("skip", "raise"):
        params = [nn.Parameter(distribute_tensor(torch.ones(s), mesh, [Shard(0)])) for s in SHAPES]
        optimizer = Collins(params, nonfinite=mode)
        for param in params:
            param.grad = distribute_tensor(torch.ones(param.shape), mesh, [Shard(0)])
        if rank == 1:
            params[0].grad.to_local()[0, 0] = float("nan")
            params[3].grad.to_local()[0] = float("inf")
        try:
            optimizer.step()
            said = ""
        except FloatingPointError as error:
            said = str(error)
        moved = [bool((param.to_local() != 1).any()) for param in params]
        counts = [float(optimizer.state[param]["step"]) for param in params]
        finite = [
            bool(value.to_local().isfinite().all())
            for param in params
            for key, value in optimizer.state[param].items()
            if key != "step" and value.is_floating_point()
        ]
        here = (said, moved, counts, all(finite), optimizer.skipped_updates)
        everywhere = [None] * world
        dist.all_gather_object(everywhere, here)
        found[mode] = everywhere
    return found


def flagged(rank, world, folder):
    """Both as on an accelerator, where nothing waits for a value: what is skipped is a flag."""
    known, sharded.on_host = sharded.on_host, lambda tensor: False
    found = {
        "steps": sharded_steps(rank, world, folder, names=FEW),
        "nonfinite": nonfinite(rank, world, folder),
    }
    sharded.on_host = known
    return found


def refused(rank, world, folder):
    """What can't be sharded says so."""
    mesh = init_device_mesh("cpu", (world,))

    def said(shape, placements, state=None, **options):
        value = nn.Parameter(distribute_tensor(torch.zeros(shape), mesh, placements))
        value.grad = distribute_tensor(torch.ones(shape), mesh, placements)
        optimizer = Collins([value], **options)
        try:
            optimizer.step()
            if state is not None:
                optimizer.state[value]["v_col"] = state
                optimizer.step()
        except ValueError as error:
            return str(error)
        return ""

    return {
        "columns": said((64, 128), [Shard(1)]),
        "exact columns": said((64, 128), [Shard(1)], exact_below=10**6),
        "experts": said((5, 40, 56), [Shard(0)]),
        "sketch": said((64, 128), [Shard(0)], m_state="sketch", v_state="sketch"),
        "plain state": said((64, 128), [Shard(0)], state=torch.zeros(128)),
    }


def fsdp(rank, world, folder):
    """Trains with fully_shard, saves half-way, goes on; counts reductions."""
    return {name: _fsdp(name, rank, world, folder) for name in TRAINED}


def _fsdp(name, rank, world, folder):
    net = made()
    fully_shard(net, mesh=init_device_mesh("cpu", (world,)))
    optimizer = Collins(net.parameters(), lr=1e-2, **OPTIONS[name])
    train(net, optimizer, range(STEPS), rank, world)
    saved = all_of(net, optimizer)
    state, states = get_state_dict(net, optimizer)
    dcp.save({"model": state, "optimizer": states}, checkpoint_id=folder / f"checkpoint-{name}")
    here = torch.tensor([optimizer_state_bytes(optimizer)])
    dist.all_reduce(here)
    train(net, optimizer, range(STEPS, 2 * STEPS), rank, world)
    end = all_of(net, optimizer)
    calls, reduce = [], dist.all_reduce
    dist.all_reduce = lambda tensor, *args, **kw: calls.append(1) or reduce(tensor, *args, **kw)
    optimizer.step()
    dist.all_reduce = reduce
    return {
        "saved": saved,
        "end": end,
        "reductions": len(calls),
        "state_bytes": int(here),
    }


def resumed(rank, world, folder):
    """Loads what another number of processes saved and goes on."""
    return {name: _resumed(name, rank, world, folder) for name in TRAINED}


def _resumed(name, rank, world, folder):
    net = made(seed=1)
    if world > 1:
        fully_shard(net, mesh=init_device_mesh("cpu", (world,)))
    optimizer = Collins(net.parameters(), lr=1e-2, **OPTIONS[name])
    state, states = get_state_dict(net, optimizer)
    loaded = {"model": state, "optimizer": states}
    dcp.load(loaded, checkpoint_id=folder / f"checkpoint-{name}", no_dist=world == 1)
    set_state_dict(
        net, optimizer, model_state_dict=loaded["model"], optim_state_dict=loaded["optimizer"]
    )
    found = {"loaded": all_of(net, optimizer)}
    train(net, optimizer, range(STEPS, 2 * STEPS), rank, world)
    return found | {"end": all_of(net, optimizer)}


def main():
    jobs, rank, world, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / jobs}.meet", rank=rank, world_size=world,
        timeout=timedelta(seconds=600),
    )  # fmt: skip
    for job in jobs.split(","):
        found = globals()[job](rank, world, folder)
        if rank == 0:
            torch.save(found, folder / f"{job}-{world}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
