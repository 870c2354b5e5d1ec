"""Loops: over what, written out or kept, and the search for a plan under which a body can be kept (`loop_plan.py`)."""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from gradc.frontends.bindings import Binding, DynamicRange, InBlocks, Iteration, NeedUnroll, Unstable, item_of
from gradc.frontends.liveness import Names
from gradc.frontends.loop_plan import ForHeader, Plan
from gradc.frontends.loop_run import LoopRun
from gradc.frontends.merge import Branches
from gradc.ir.nodes import Value

MAX_UNROLLED = 4096
MAX_PASSES = 24


class Loops(Branches):
    """Interprets loops."""

    # ------------------------------------------------------------------------------------ statements

    def exec_for(self, s: ast.For) -> None:
        """A `for` statement (its `else` part and its jumps have been lowered)."""
        with self.at(s.iter):
            over, mark = self.eval(s.iter), None
            if isinstance(over, InBlocks):
                over, mark = over.header, over.mark
            if not isinstance(over, range | DynamicRange):
                over = self.iterate(over)
        target = s.target
        if isinstance(over, list):
            self._refuse_mark(s.iter, mark)
            with self.holding(over):
                self._unroll(s, [functools.partial(item_of, over, k) for k in range(len(over))])
            return
        if isinstance(over, range) and not over:
            return
        if isinstance(over, range | DynamicRange):
            start, stop, step = over.start, over.stop, over.step
            item: Callable[[Any], Binding] = lambda k: k  # noqa: E731
        else:
            start, stop, step, item = 0, over.length, 1, over.item
        with self.holding(over):
            self._for_numbers(s, ForHeader(start, stop, step, item, target, mark))

    def _for_numbers(self, s: ast.For, header: ForHeader) -> None:
        """A `for` statement over numbers, or over what there is at them."""
        start, stop, step, item, mark = header.start, header.stop, header.step, header.item, header.mark
        static = not any(isinstance(b, Value) for b in (start, stop, step))
        key = self._loop_key(s)
        if self.plans.get(key) == "unroll" and static:
            self._unroll(s, [functools.partial(item, k) for k in self._static_range(start, stop, step)])
            return
        token = object()
        before = self.take()
        try:
            self._run(s, key, token, header)
        except NeedUnroll as request:
            if request.loop is not token:
                raise
            self.restore(before, drop_nodes=True)
            with self.at(s.iter):
                what = "a bound of a loop whose index must be known"
                bounds = [self.static_int(b, what) for b in (start, stop, step)]
            self._refuse_mark(s.iter, mark)
            self.plans[key] = "unroll"
            self._unroll(s, [functools.partial(item, k) for k in self._static_range(*bounds)])

    def run_collecting(self, loop: ast.For, over: Iteration) -> None:
        """Run the loop that fills an array with items."""
        token = object()
        header = ForHeader(0, over.length, 1, lambda k: (k, over.item(k)), loop.target)
        with self.holding(over):
            self._run(loop, self._loop_key(loop), token, header)

    def exec_while(self, s: ast.While) -> None:
        """A `while` statement."""
        key = self._loop_key(s)
        token = object()
        before = self.take()
        if self.plans.get(key) != "unroll":
            try:
                self._run(s, key, token, None)
                return
            except NeedUnroll as request:
                if request.loop is not token:
                    raise
                self.restore(before, drop_nodes=True)
                self.plans[key] = "unroll"
        for _ in range(MAX_UNROLLED):
            with self.at(s.test):
                holds, mark = self.loop_condition(s)
                self._refuse_mark(s.test, mark)
                if not self.static(holds, "the condition of a loop that is written out"):
                    return
            self.run_statements(s.body)
            if self._left(s):
                return
        self.refuse(f"the loop would be written out more than {MAX_UNROLLED} times")

    def loop_condition(self, s: ast.While) -> tuple[Binding, tuple[str, int] | None]:
        """The truth of the condition of a `while`, and the mark that gradc.checkpoint has put on it."""
        b, mark = self.eval(s.test), None
        if isinstance(b, InBlocks):
            b, mark = b.header, b.mark
        return self.truth(b), mark

    def _refuse_mark(self, at: ast.expr, mark: tuple[str, int] | None) -> None:
        if mark is not None:
            with self.at(at):
                self.refuse(
                    "a loop with gradc.checkpoint would be written out",
                    "its items or its index are needed while compiling, so no loop is left that could go in blocks.",
                    "loop over a range or an array, and use the index in arrays only.",
                )

    def run_statements(self, body: Sequence[ast.stmt]) -> None:
        """Run statements one after the other."""
        raise NotImplementedError

    def _loop_key(self, s: ast.stmt) -> Any:
        sites = tuple(f.site for f in self.frames)
        return (id(s), sites)

    @staticmethod
    def _static_range(start: Any, stop: Any, step: Any) -> range:
        return range(int(start), int(stop), int(step))

    def _live(self, s: ast.For | ast.While) -> tuple[Names, Names]:
        """Names that may be read at the head of a loop, and after it."""
        liveness = self.frame.code.liveness
        return liveness.head.get(id(s), frozenset()), liveness.after.get(id(s), frozenset())

    # ----------------------------------------------------------------------------------- written out

    def _unroll(self, s: ast.For, items: list[Callable[[], Binding]]) -> None:
        if len(items) > MAX_UNROLLED:
            self.refuse(
                f"a loop over {len(items)} items would be written out", "its index is needed while compiling.",
                "loop over an array, or use the index in arrays only.",
            )
        for k, read in enumerate(items):
            with self.at(s.iter):
                b = read()
            self.assign(s.target, b)
            self.run_statements(s.body)
            flag = getattr(s, "exit_flag", None)
            left = self.frame.env.get(flag, False) if flag else False
            if left is True:
                return
            if isinstance(left, Value):
                rest = items[k + 1 :]
                if rest:
                    head, after = self._live(s)
                    go_on = self.emit("logical_not", left)
                    self.branches(go_on, functools.partial(self._unroll, s, rest), lambda: None, head | after)
                return

    def _left(self, s: ast.For | ast.While) -> bool:
        """Whether an iteration written out has left the loop."""
        flag = getattr(s, "exit_flag", None)
        left = self.frame.env.get(flag, False) if flag else False
        return bool(self.static(left, "a condition that leaves a loop that is written out"))

    # ------------------------------------------------------------------------------------- fixpoint

    def _run(self, s: ast.For | ast.While, key: Any, token: object, header: ForHeader | None) -> None:
        """Interpret a loop until its plan is stable, and keep the last interpretation."""
        known = self.plans.get(key)
        plan = known.settled() if isinstance(known, Plan) else Plan()
        before = self.take()
        self.active.append(token)
        try:
            for _ in range(MAX_PASSES):
                run = LoopRun(self, s, key, token, header, plan, before)
                try:
                    if run.attempt():
                        self.plans[key] = plan
                        return
                except Unstable as unstable:
                    self.restore(before, drop_nodes=True)
                    header = self._peel(s, header, token, unstable)
                    before = self.take()
                    plan = Plan()
                    continue
                self.restore(before, drop_nodes=True)
        finally:
            self.active.remove(token)
        self.refuse("what this loop carries from one iteration to the next does not settle")

    def _peel(
        self, s: ast.For | ast.While, header: ForHeader | None, token: object, unstable: Unstable
    ) -> ForHeader | None:
        """Interpret the first iteration on its own, because names change their kind in it."""
        message = (
            f"`{unstable.name}` is {unstable.before} before the loop and {unstable.after} after an iteration"
        )
        key = ("peeled", id(s), token)
        flag = getattr(s, "exit_flag", None)
        if self.plans.get(key) or flag:
            if unstable.needs or (header is not None and header.is_static):
                raise NeedUnroll(token)
            self.refuse(
                message, "compiled code needs one kind of value in all iterations.",
                "give it a value of the final kind before the loop, such as np.zeros(shape).",
            )
        self.plans[key] = True
        if header is None:
            assert isinstance(s, ast.While)
            with self.at(s.test):
                runs, _ = self.loop_condition(s)
                self.fail("UnsupportedError", f"{message}, and the loop did not run", runs)
        else:
            with self.at(s):
                runs = self.truth(self.length(header.range))
                self.fail("UnsupportedError", f"{message}, and the loop did not run", runs)
                self.assign(header.target, header.item(header.start))
            header = header.rest(self.binary(operator.add, header.start, header.step))
        self.run_statements(s.body)
        return header
