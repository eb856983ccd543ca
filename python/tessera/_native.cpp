/// The part of the Python package that calls libtessera: arrays are viewed where they lie, the GIL is released while
/// the library works and taken for callbacks. What a user sees is in the .py files beside this one; _native.pyi has the
/// types.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <tessera/tessera.hpp>
#include <utility>
#include <vector>

namespace py = pybind11;

namespace {

using Tokens = py::array_t<std::int32_t, py::array::c_style>;

// ---- errors --------------------------------------------------------------------------------------------------------

struct ErrorTypes {
  PyObject *error = nullptr, *usage = nullptr, *stopped = nullptr, *memory = nullptr;
};
/// Never freed: exceptions may outlive the module.
ErrorTypes error_types;

PyObject* new_error(py::module_& module, const char* name, const char* doc, const py::tuple& bases) {
  const auto full = std::string("tessera.") + name;
  PyObject* type = PyErr_NewExceptionWithDoc(full.c_str(), doc, bases.ptr(), nullptr);
  if (type == nullptr) throw py::error_already_set();
  module.attr(name) = py::handle(type);
  return type;
}

void set_error(PyObject* type, const char* what) {
  const auto text = py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(what, static_cast<Py_ssize_t>(std::strlen(what)), "backslashreplace"));
  if (text) PyErr_SetObject(type, text.ptr());
}

void translate(std::exception_ptr thrown) {
  try {
    if (thrown) std::rethrow_exception(thrown);
  } catch (const tessera::Error& error) {
    const auto status = error.status();
    set_error(status == tessera::Status::usage     ? error_types.usage
              : status == tessera::Status::stopped ? error_types.stopped
              : status == tessera::Status::memory  ? error_types.memory
                                                   : error_types.error,
              error.what());
  }
}

// ---- arrays --------------------------------------------------------------------------------------------------------

/// [height, width] or [height, width, 1 | 3 | 4], uint8. Rows may lie apart, what is in a row may not.
tessera::ImageView view_of(const py::array& image) {
  if (!py::isinstance<py::array_t<std::uint8_t>>(image)) throw py::type_error("image: expected an array of uint8");
  const auto sides = image.ndim();
  if (sides != 2 && sides != 3) throw py::type_error("image: expected [height, width] or [height, width, channels]");
  constexpr py::ssize_t most = std::numeric_limits<int>::max();
  const auto height = image.shape(0), width = image.shape(1), channels = sides == 3 ? image.shape(2) : 1;
  if (height > most || width > most || channels > 4) throw py::type_error("image: expected at most 4 channels");
  const bool dense = (channels == 1 || image.strides(sides - 1) == 1) && (width < 2 || image.strides(1) == channels) &&
                     (height < 2 || image.strides(0) >= width * channels);
  if (!dense) throw py::type_error("image: expected rows without gaps in them");
  return {static_cast<int>(width), static_cast<int>(height), static_cast<int>(channels),
          static_cast<const std::uint8_t*>(image.data()), height < 2 ? 0 : static_cast<std::size_t>(image.strides(0))};
}

tessera::GridView view_of(const Tokens& grid) {
  if (grid.ndim() != 2) throw py::type_error("tokens: expected [height, width]");
  return {grid.shape(0), grid.shape(1), grid.data()};
}

/// Pixels where they lie; `owner` holds them.
py::array array_of(const tessera::ImageView& image, const py::object& owner) {
  const auto channels = static_cast<py::ssize_t>(image.channels());
  py::array result(py::dtype::of<std::uint8_t>(), std::vector<py::ssize_t>{image.height(), image.width(), channels},
                   std::vector<py::ssize_t>{static_cast<py::ssize_t>(image.stride()), channels, 1}, image.data(),
                   owner);
  result.attr("setflags")(py::arg("write") = false);
  return result;
}

/// A copy: [height, width].
py::array_t<std::int32_t> array_of(const tessera::GridView& grid) {
  return py::array_t<std::int32_t>(std::vector<py::ssize_t>{grid.height(), grid.width()}, grid.data());
}

// ---- calls ---------------------------------------------------------------------------------------------------------

/// Before each step that goes on: signals (Ctrl-C), then the caller's function, which is given
/// (step, steps, evaluations, tokens [count, height, width]) and says whether to go on.
tessera::OnStep stepped(const py::object& on_step) {
  return [on_step](const tessera::Step& step) {
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (on_step.is_none()) return true;
    const py::array_t<std::int32_t> tokens(std::vector<py::ssize_t>{step.count, step.height, step.width}, step.tokens);
    return on_step(step.step, step.steps, step.evaluations, tokens).cast<bool>();
  };
}

/// Runs a fill without the GIL.
template <typename Call>
tessera::Images filled(const py::object& on_step, const Call& call) {
  const auto function = stepped(on_step);
  const py::gil_scoped_release released;  // ends before `function`, which holds Python objects
  return call(function);
}

/// Something of the library's that logs, and so must not hold the GIL, when it goes.
template <typename Kind>
class Held {
 public:
  template <typename... Arguments>
  explicit Held(Arguments&&... arguments) {
    const py::gil_scoped_release released;
    kept_.emplace(std::forward<Arguments>(arguments)...);
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() {
    const py::gil_scoped_release released;
    kept_.reset();
  }
  Kind& operator*() { return *kept_; }
  Kind* operator->() { return &*kept_; }

 private:
  std::optional<Kind> kept_;
};

/// In: each option's name and its value as JSON.
tessera::Options options_of(const py::dict& given) {
  tessera::Options options;
  for (const auto& [name, json] : given) options.set_json(name.cast<std::string>(), json.cast<std::string>());
  return options;
}

using Model = Held<tessera::Model>;
using Dataset = Held<tessera::Dataset>;

}  // namespace

PYBIND11_MODULE(_native, module) {
  module.doc() = "libtessera as the package tessera sees it; see _native.pyi.";

  const auto builtin = [](PyObject* type) { return py::reinterpret_borrow<py::object>(type); };
  error_types.error = new_error(module, "Error", "A file, a model or the machine; the message says which.",
                                py::make_tuple(builtin(PyExc_RuntimeError)));
  const auto error = builtin(error_types.error);
  error_types.usage = new_error(module, "UsageError", "An argument or option: unknown, out of range or of no use.",
                                py::make_tuple(error, builtin(PyExc_ValueError)));
  error_types.stopped = new_error(module, "Stopped", "A callback has asked for it.", py::make_tuple(error));
  error_types.memory = new_error(module, "OutOfMemory", "There is not enough memory, or not enough on the GPU.",
                                 py::make_tuple(error, builtin(PyExc_MemoryError)));
  py::register_exception_translator(&translate);

  module.def("version", &tessera::version);
  module.def("options_schema", &tessera::options_schema);
  module.def("set_threads", &tessera::set_threads, py::call_guard<py::gil_scoped_release>());
  module.def("set_log", [](const py::object& function) {
    if (function.is_none()) {
      const py::gil_scoped_release released;
      tessera::set_log({});
      return;
    }
    const std::shared_ptr<py::object> kept(new py::object(function), [](py::object* object) {
      const py::gil_scoped_acquire gil;
      delete object;
    });
    const py::gil_scoped_release released;
    tessera::set_log([kept](tessera::LogLevel level, std::string_view line) {
      const py::gil_scoped_acquire gil;
      try {
        const auto text = py::reinterpret_steal<py::object>(
            PyUnicode_DecodeUTF8(line.data(), static_cast<Py_ssize_t>(line.size()), "backslashreplace"));
        if (!text) throw py::error_already_set();
        (*kept)(static_cast<int>(level), text);
      } catch (py::error_already_set& thrown) {
        // Ctrl-C while a line is logged: the next step sees it.
        if (thrown.matches(PyExc_KeyboardInterrupt)) {
          PyErr_SetInterrupt();
        } else {
          thrown.discard_as_unraisable("tessera's log");
        }
      }
    });
  });

  py::class_<tessera::Images>(module, "Images")
      .def("__len__", &tessera::Images::size)
      .def("record", &tessera::Images::record)
      .def("image",
           [](const py::object& self, std::size_t i) { return array_of(self.cast<const tessera::Images&>()[i], self); })
      .def("tokens", [](const tessera::Images& self, std::size_t i) { return array_of(self.tokens(i)); });

  module.def("image_read", [](const std::string& path) {
    const py::gil_scoped_release released;
    tessera_images* read = nullptr;
    tessera::detail::check(tessera_image_read(tessera::detail::c_text(path, "path"), &read));
    return tessera::Images(read);
  });
  module.def("image_write", [](const std::string& path, const py::array& image, const std::string& record) {
    const auto view = view_of(image);
    const py::gil_scoped_release released;
    view.write(path, record);
  });

  using Pieces = std::vector<std::tuple<py::array, int, int, int, int, int, int>>;
  py::class_<Model>(module, "Model")
      .def(py::init([](const std::string& path, const py::dict& options) {
        return std::make_unique<Model>(path, options_of(options));
      }))
      .def("info", [](Model& self) { return self->info(); })
      .def("generate",
           [](Model& self, const py::dict& options, const py::object& on_step) {
             const auto given = options_of(options);
             return filled(on_step, [&](const tessera::OnStep& step) { return self->generate(given, step); });
           })
      .def("inpaint",
           [](Model& self, const py::array& image, const py::array& mask, const py::dict& options,
              const py::object& on_step) {
             const auto of = view_of(image), where = view_of(mask);
             const auto given = options_of(options);
             return filled(on_step, [&](const tessera::OnStep& step) { return self->inpaint(of, where, given, step); });
           })
      .def("outpaint",
           [](Model& self, const py::array& image, const py::dict& options, const py::object& on_step) {
             const auto of = view_of(image);
             const auto given = options_of(options);
             return filled(on_step, [&](const tessera::OnStep& step) { return self->outpaint(of, given, step); });
           })
      .def("variations",
           [](Model& self, const py::array& image, const std::optional<py::array>& mask, const py::dict& options,
              const py::object& on_step) {
             const auto of = view_of(image);
             const auto where = mask ? view_of(*mask) : tessera::ImageView();
             const auto given = options_of(options);
             return filled(on_step, [&](const tessera::OnStep& step) {
               return mask ? self->variations(of, where, given, step) : self->variations(of, given, step);
             });
           })
      .def("stitch",
           [](Model& self, const Pieces& pieces, const std::optional<py::array>& onto, const py::dict& options,
              const py::object& on_step) {
             std::vector<tessera::Piece> parts;
             for (const auto& [image, x, y, width, height, to_x, to_y] : pieces) {
               parts.emplace_back(view_of(image), tessera::Box{x, y, width, height}, to_x, to_y);
             }
             const auto canvas = onto ? view_of(*onto) : tessera::ImageView();
             const auto given = options_of(options);
             return filled(on_step, [&](const tessera::OnStep& step) {
               return onto ? self->stitch(parts, canvas, given, step) : self->stitch(parts, given, step);
             });
           })
      .def("fill",
           [](Model& self, const Tokens& grid, const std::optional<py::array>& onto, const py::dict& options,
              const py::object& on_step) {
             const auto of = view_of(grid);
             const auto under = onto ? view_of(*onto) : tessera::ImageView();
             const auto given = options_of(options);
             return filled(on_step, [&](const tessera::OnStep& step) {
               return onto ? self->fill(of, under, given, step) : self->fill(of, given, step);
             });
           })
      .def("encode",
           [](Model& self, const py::array& image) {
             const auto of = view_of(image);
             const auto grid = [&] {
               const py::gil_scoped_release released;
               return self->encode(of);
             }();
             return array_of(grid);
           })
      .def("decode",
           [](Model& self, const std::vector<Tokens>& grids) {
             std::vector<tessera::GridView> views;
             for (const auto& grid : grids) views.push_back(view_of(grid));
             const py::gil_scoped_release released;
             return self->decode(views);
           })
      .def("score", [](Model& self, const Tokens& grid, const py::dict& options) {
        const auto of = view_of(grid);
        const auto given = options_of(options);
        const auto scores = [&] {
          const py::gil_scoped_release released;
          return self->score(of, given);
        }();
        return py::array_t<double>(std::vector<py::ssize_t>{of.height(), of.width()}, scores.data());
      });

  py::class_<Dataset>(module, "Dataset")
      .def(py::init([](const std::string& path, const py::dict& options) {
        return std::make_unique<Dataset>(path, options_of(options));
      }))
      .def("__len__", [](Dataset& self) { return self->size(); })
      .def("side", [](Dataset& self) { return self->side(); })
      .def("image",
           [](Dataset& self, std::size_t i) {
             const auto side = static_cast<py::ssize_t>(self->side());
             py::array_t<std::uint8_t> pixels(std::vector<py::ssize_t>{side, side, 3});
             auto* to = pixels.mutable_data();
             const py::gil_scoped_release released;
             self->read(i, to);
             return pixels;
           })
      .def("record", [](Dataset& self, std::size_t i) { return self->record(i); });  // with the GIL: one at a time

  module.def("train", [](const std::string& part, const std::string& data, const std::string& model,
                         const py::dict& options, const py::object& on_step) {
    const auto given = options_of(options);
    const tessera::OnTrainingStep function = [&on_step](const tessera::TrainingStep& step) {
      const py::gil_scoped_acquire gil;
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      return on_step.is_none() ||
             on_step(step.step, step.steps, py::str(step.metrics.data(), step.metrics.size())).cast<bool>();
    };
    const py::gil_scoped_release released;
    tessera::train(part, data, model, given, function);
  });
}
