"""Ways to look at a compiled object: its circuit, an explanation of its numbers, its text at any stage."""

from gradc.inspect.diagram import Diagram, diagram
from gradc.inspect.explain import Explanation, Row, Thresholds, explain
from gradc.inspect.staging import show, with_gradients
from gradc.runtime.dispatch import INSPECTORS

INSPECTORS.update(diagram=diagram, explain=explain)

__all__ = ["Diagram", "Explanation", "Row", "Thresholds", "diagram", "explain", "show", "with_gradients"]
