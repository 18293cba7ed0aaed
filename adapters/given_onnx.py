"""Adapter for ONNX models of one batch normalization, run in inference by ONNX Runtime. Runs on Python 3.6."""

import importlib
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from adapters.common import complete
from adapters.given import Given
from adapters.interface import Array, Capabilities, Conventions, Description, Layer, Spec, State, Step, Unsupported
from adapters.naming import AdapterError, Options

# Untyped on purpose: the checks of this module must not depend on which versions are installed, if any.
onnx: Any = importlib.import_module("onnx")
runtime: Any = importlib.import_module("onnxruntime")

_STATE = ("gamma", "beta", "moving_mean", "moving_variance")


class OnnxLayer(Layer):
    """The model with weights of its own; a session is made when they change."""

    def __init__(self, adapter: "GivenOnnxModel", spec: Spec, state: State) -> None:
        self.adapter = adapter
        self.spec = spec
        self.arrays: Dict[str, Array] = {}
        self._session: Any = None
        self.set_state(complete(spec, state))

    def train(self, x: Array, dy: Optional[Array] = None, update: bool = True) -> Step:
        """A model for inference cannot."""
        raise Unsupported("ONNX Runtime runs models in inference")

    def infer(self, x: Array, dy: Optional[Array] = None) -> Step:
        """Run the model with the channels second."""
        axis = self.spec.channel_axes[0]
        if self._session is None:
            self._session = self.adapter.session(self.spec, self.arrays)
        name = self._session.get_inputs()[0].name
        given = np.ascontiguousarray(np.moveaxis(x, axis, self.adapter.second(self.spec)))
        (y,) = self._session.run([self._session.get_outputs()[0].name], {name: given})
        return Step(np.array(np.moveaxis(y, self.adapter.second(self.spec), axis), order="C"))

    def state(self) -> State:
        """Return copies of the weights; a layer without gamma or beta keeps ones and zeros in the model."""
        kept: Dict[str, Any] = {name: np.array(self.arrays[name]) for name in _STATE}
        if not self.spec.scale:
            kept["gamma"] = None
        if not self.spec.center:
            kept["beta"] = None
        return State(**kept)

    def set_state(self, state: State) -> None:
        """Copy what is given."""
        for name in _STATE:
            value = getattr(state, name)
            if value is not None:
                self.arrays[name] = np.array(value)
        self._session = None


class GivenOnnxModel(Given):
    """A model file whose only node that matters is a BatchNormalization; its weights and epsilon are replaced."""

    def __init__(self, target: str, subject: Any, options: Options) -> None:
        super().__init__(target, subject, options)
        path = target.partition(":")[2]
        try:
            self.model = onnx.load(path)
            onnx.checker.check_model(self.model)
        except Exception as error:
            why = "{}: {}".format(type(error).__name__, str(error).splitlines()[0] if str(error) else "")
            raise AdapterError("{}: {} is no ONNX model: {}".format(target, path, why)) from error
        if options.map:
            raise AdapterError("{}: --map is for arguments, and a model has none".format(target))
        self.node = self._node()
        self.weights = dict(zip(_STATE, list(self.node.input)[1:5]))

    def _node(self) -> Any:
        kinds = [node.op_type for node in self.model.graph.node]
        found = [node for node in self.model.graph.node if node.op_type == "BatchNormalization"]
        if len(found) != 1:
            what = "{}: expected a model with one BatchNormalization, found {} among its nodes: {}"
            raise AdapterError(what.format(self.target, len(found), ", ".join(kinds)))
        held = [initializer.name for initializer in self.model.graph.initializer]
        missing = [name for name in list(found[0].input)[1:5] if name not in held]
        if missing:
            what = "{}: the weights {} of the BatchNormalization are no initializers of the graph"
            raise AdapterError(what.format(self.target, ", ".join(missing)))
        return found[0]

    def describe(self) -> Description:
        """ONNX Runtime, on the CPU."""
        opsets = ", ".join(str(o.version) for o in self.model.opset_import)
        nodes = ", ".join(node.op_type for node in self.model.graph.node)
        return Description(
            "onnxruntime",
            str(runtime.__version__),
            capabilities=Capabilities(
                training=False, training_gradients=False, inference_gradients=False, transposes=True
            ),
            notes=(
                "no adapter: the model's own weights, epsilon and input shape are replaced by those of each case",
                "opset {}, written by {} {}; nodes: {}".format(
                    opsets, self.model.producer_name or "?", self.model.producer_version, nodes
                ),
                "epsilon is a float32 attribute",
            ),
            undeclared=("capabilities", "conventions"),
        )

    def conventions(self, spec: Spec) -> Conventions:
        """Only inference shows: what concerns training alone stays as it is."""
        return Conventions()

    def second(self, spec: Spec) -> int:
        """Where ONNX has the channels."""
        return min(1, spec.rank - 1)

    def session(self, spec: Spec, arrays: Dict[str, Array]) -> Any:
        """A session of the model with these weights, the spec's epsilon and free extents."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        kept = [i for i in model.graph.initializer if i.name not in self.weights.values()]
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)
        for role, name in self.weights.items():
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(arrays[role]), name))
        for node in model.graph.node:
            if node.op_type == "BatchNormalization":
                others = [a for a in node.attribute if a.name != "epsilon"]
                del node.attribute[:]
                node.attribute.extend([*others, onnx.helper.make_attribute("epsilon", spec.epsilon)])
        element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
        shape: List[Any] = [None] * spec.rank
        shape[self.second(spec)] = spec.parameter_shape[0]
        data, out = self._ends(model)
        for values, name in ((model.graph.input, data), (model.graph.output, out)):
            others = [v for v in values if v.name != name]
            del values[:]
            values.extend([onnx.helper.make_tensor_value_info(name, element, shape), *others])
        del model.graph.value_info[:]
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            if "NOT_IMPLEMENTED" in str(error):
                raise Unsupported("ONNX Runtime: {}".format(str(error).splitlines()[0][:200])) from error
            raise

    def _ends(self, model: Any) -> Tuple[str, str]:
        """Names of the model's input and first output."""
        held = {initializer.name for initializer in model.graph.initializer}
        return next(v.name for v in model.graph.input if v.name not in held), model.graph.output[0].name

    def build(self, spec: Spec, state: State) -> Layer:
        """Return a layer with copies of the state."""
        if len(spec.axis) != 1:
            raise Unsupported("one channel axis, not {}".format(spec.axis))
        return OnnxLayer(self, spec, state)
