"""Calls of one kind, carried out together: one visit to a thread, and one fsync, for all that have come meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, NamedTuple, ParamSpec, TypeVar

_Asked = TypeVar("_Asked")
_Found = TypeVar("_Found")
_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Waiting(NamedTuple, Generic[_Asked, _Found]):
    asked: _Asked
    future: asyncio.Future[_Found]
    undo: Callable[[_Found], None] | None


class Together(Generic[_Asked, _Found]):
    """While as many threads as may be are at work, those that come are collected; they are the next."""

    def __init__(
        self,
        executor: Executor,
        work: Callable[[Sequence[_Asked]], Sequence[_Found | Exception]],
        *,
        threads: int = 1,
        most: int = 16,
    ) -> None:
        """`work` gets up to `most` questions and returns an answer, or what it failed with, for each."""
        self._executor, self._work, self._threads, self._most = executor, work, threads, most
        self._waiting: list[_Waiting[_Asked, _Found]] = []
        self._under_way = 0
        self._starting = False

    async def call(self, asked: _Asked, undo: Callable[[_Found], None] | None = None) -> _Found:
        """The answer. `undo` gets one that nobody waits for any more."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Found] = loop.create_future()
        self._waiting.append(_Waiting(asked, future, undo))
        if not self._starting and self._under_way < self._threads:
            # Those who ask in this round of the loop are taken along.
            self._starting = True
            loop.call_soon(self._start, loop)
        try:
            return await future
        except asyncio.CancelledError:
            if undo and future.done() and not future.cancelled() and future.exception() is None:
                undo(future.result())
            raise
        finally:
            # Else what it failed with, its traceback, this frame and the future are a ring, with the message in it.
            del future

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._starting = False
        while self._waiting and self._under_way < self._threads:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            self._under_way += 1
            self._submit(loop, batch)

    def _submit(self, loop: asyncio.AbstractEventLoop, batch: Sequence[_Waiting[_Asked, _Found]]) -> None:
        def carry_out() -> None:
            try:
                found = self._work([one.asked for one in batch])
            except Exception as error:
                found = [error] * len(batch)
            # At the very end nobody listens any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._ended, loop, batch, found)

        try:
            self._executor.submit(carry_out)
        except RuntimeError as error:
            self._ended(loop, batch, [error] * len(batch))

    def _ended(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: Sequence[_Waiting[_Asked, _Found]],
        found: Sequence[_Found | Exception],
    ) -> None:
        self._under_way -= 1
        for one, answer in zip(batch, found, strict=True):
            if isinstance(answer, Exception):
                if not one.future.done():
                    one.future.set_exception(answer)
            elif not one.future.done():
                one.future.set_result(answer)
            elif one.undo:
                one.undo(answer)
        self._start(loop)


def attempt(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | Exception:
    """What `work` returns, or what it raises."""
    try:
        return work(*args, **kwargs)
    except Exception as error:
        return error
