"""The map on a Dask cluster: workers count, this machine keeps the runs and reduces.

A part of the text is a pure function of the source and two places, so a worker that dies
changes nothing: its parts are counted again by another. Few parts are under way at once,
so that answers never pile up here.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from microdollar.errors import CorpusError, MissingExtraError, UsageError
from microdollar.learn.base import Progress
from microdollar.learn.counts.scale.build import Mapper, Task, count_part
from microdollar.learn.counts.scale.grams import Grams
from microdollar.learn.counts.scale.runs import write_run
from microdollar.learn.counts.scale.sources import Source

_CONNECT_SECONDS = 30
_UNDER_WAY = 2
"""Parts for each worker: one that is counted and one that waits there."""


def _count(source: Source, order: int, start: int, stop: int) -> tuple[Any, Any, Any]:
    """What a worker does. Module level, so that it is sent by name."""
    grams = count_part(source, order, start, stop)
    return grams.high, grams.low, grams.count


@contextmanager
def dask_client(address: str, workers: int) -> Iterator[Any]:
    """A client of a running scheduler, or of a cluster of processes on this machine.

    Args:
        address: such as ``tcp://10.0.0.1:8786``, or ``local``.
        workers: processes of a local cluster.

    Raises:
        MissingExtraError: if Dask is not installed.
        UsageError: if there is no scheduler at the address.
    """
    try:
        from distributed import Client, LocalCluster
    except ModuleNotFoundError as error:
        raise MissingExtraError("distributed", "cluster", "--cluster") from error
    if address == "local":
        with (
            LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=None, processes=True
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(address, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no Dask scheduler answers at {address!r}. Type its address, such as "
            "--cluster tcp://10.0.0.1:8786, or --cluster local."
        ) from error
    with client:
        yield client


def on_cluster(client: Any) -> Mapper:  # noqa: ANN401
    """Runs are counted by the workers of a Dask client."""

    def run_all(source: Source, order: int, tasks: Sequence[Task], progress: Progress) -> None:
        from distributed import KilledWorker, as_completed

        waiting = list(reversed(tasks))
        place: dict[str, Task] = {}

        def submit() -> Any:  # noqa: ANN401
            task = waiting.pop()
            # Not pure: a result that Dask remembers by its arguments could be of an older text.
            future = client.submit(_count, source, order, task.start, task.stop, pure=False)
            place[future.key] = task
            return future

        workers = max(len(client.scheduler_info(n_workers=-1)["workers"]), 1)
        first = [submit() for _ in range(min(len(tasks), _UNDER_WAY * workers))]
        arriving = as_completed(first)
        for done, future in enumerate(arriving):
            task = place.pop(future.key)
            try:
                high, low, count = future.result()
            except KilledWorker as error:
                raise CorpusError(
                    f"workers died again and again while they counted bytes {task.start:,} to "
                    f"{task.stop:,}; what others counted is kept. Give workers more memory, and "
                    "type the same command again."
                ) from error
            future.release()
            if waiting:
                arriving.add(submit())
            write_run(task.path, [Grams(high=high, low=low, count=count)], len(high))
            progress(done + 1, len(tasks), "counting")

    return run_all
