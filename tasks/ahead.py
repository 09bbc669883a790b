"""Working ahead: the next items are made in another thread while this one uses the last."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

_Item = TypeVar("_Item")
_END = object()


def ahead(items: Iterable[_Item], most: int = 2) -> Iterator[_Item]:
    """The same items in the same order, at most `most` of them made before they are asked for.

    Worth it where making them does not hold Python's lock. An error of `items` is raised here,
    where it belongs in the order. Who stops early stops the other thread, after its item.
    """
    made: queue.Queue[tuple[object, Exception | None]] = queue.Queue(most)
    stopped = threading.Event()

    def put(item: object, error: Exception | None = None) -> None:
        while not stopped.is_set():
            try:
                made.put((item, error), timeout=0.1)
            except queue.Full:
                continue
            return

    def make() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
        except Exception as error:
            put(_END, error)
        else:
            put(_END)

    thread = threading.Thread(target=make, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()
