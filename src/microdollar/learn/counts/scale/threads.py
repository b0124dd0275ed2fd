"""The map on the cores of this machine."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from microdollar.learn.base import Progress
from microdollar.learn.counts.scale.build import Mapper, Task, count_part
from microdollar.learn.counts.scale.runs import write_run
from microdollar.learn.counts.scale.sources import Source


def on_threads(workers: int) -> Mapper:
    """Runs are counted by so many threads; the loops hold no lock of the interpreter."""

    def run_all(source: Source, order: int, tasks: Sequence[Task], progress: Progress) -> None:
        def run(task: Task) -> None:
            grams = count_part(source, order, task.start, task.stop)
            write_run(task.path, [grams], len(grams))

        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(run, task) for task in tasks]
            try:
                for done, future in enumerate(as_completed(futures)):
                    future.result()
                    progress(done + 1, len(tasks), "counting")
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    return run_all
