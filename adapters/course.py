"""Runs a course on an adapter's network and hands over each act's result as soon as it is there."""

from time import perf_counter
from typing import Any, Dict, Iterator, List, Tuple, Union

import numpy as np

from adapters.interface import Array, BatchNormAdapter, Conventions, Unsupported
from adapters.loader import described, last_lines
from adapters.network import Act, Course, Done, Network, Over
from adapters.network_layers import LayeredNetwork, layer_spec
from adapters.program import Failure


def attend(adapter: BatchNormAdapter, course: Course) -> Iterator[Union[Done, Over]]:
    """Run a course; yield a Done per act, then Over, which has the failure where the course broke."""
    conventions: Tuple[Conventions, ...] = ()
    idiom, method = "", "network"
    try:
        conventions = _conventions(adapter, course)
        network = _network(adapter, course)
        idiom = type(network).__doc__ or ""
        for index, act in enumerate(course.acts):
            method = act.op
            begin = perf_counter()
            if act.op == "reload":
                network = network.reload()
            done = _act(network, course, act, index)
            yield done._replace(seconds=perf_counter() - begin)
    except Unsupported as refusal:
        yield Over(conventions, Failure("unsupported", str(refusal) or "no reason given", method), idiom)
    except (Exception, SystemExit) as error:
        yield Over(conventions, Failure("error", described(error), method, last_lines(error)), idiom)
    else:
        yield Over(conventions, None, idiom)


def _conventions(adapter: BatchNormAdapter, course: Course) -> Any:
    """What is declared for the layer of each hidden layer; none without normalization."""
    spec = course.spec
    if not spec.normalizes:
        return ()
    capabilities = adapter.describe().capabilities
    return tuple(adapter.conventions(layer_spec(spec, capabilities, k)) for k in range(1, len(spec.hidden) + 1))


def _network(adapter: BatchNormAdapter, course: Course) -> Network:
    network = adapter.network(course.spec) if course.own else LayeredNetwork(adapter, course.spec)
    network.set_state(course.start)
    return network


def _act(network: Network, course: Course, act: Act, index: int) -> Done:
    if act.op == "fit":
        return _fit(network, course, act, index)
    if act.op == "predict":
        return Done(index, logits=_predict(network, course.data[act.rows], act))
    if act.op == "activations":
        return Done(index, activations=tuple(network.activations(course.data[act.rows])))
    if act.op in ("state", "reload"):
        return Done(index, states=(network.state(),))
    raise ValueError("there is no act {!r}".format(act.op))


def _fit(network: Network, course: Course, act: Act, index: int) -> Done:
    losses: List[float] = []
    states: List[Dict[str, Array]] = []
    assert act.rows is not None
    for rows in act.rows:
        losses.append(_step(network, course.data[rows], course.labels[rows], act.update))
        if act.keep:
            states.append(network.state())
        if not np.isfinite(losses[-1]):
            break
    return Done(index, losses=np.array(losses, "float64"), states=tuple(states))


def _step(network: Network, x: Array, labels: Array, update: bool) -> float:
    """A training step; where the update cannot be left out, its result is dropped, as by those who hold it."""
    if update or network.forgets:
        return float(network.train(x, labels, update))
    before = {name: a for name, a in network.state().items() if name.startswith("moving")}
    loss = float(network.train(x, labels))
    network.set_state(before)
    return loss


def _predict(network: Network, x: Array, act: Act) -> Array:
    size = act.size or len(x)
    return np.concatenate([network.predict(x[k : k + size], act.training) for k in range(0, len(x), size)])
