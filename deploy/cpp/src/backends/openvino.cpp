// OpenVINO: runs the bundle's ONNX file on a CPU.
#include <cstring>
#include <openvino/openvino.hpp>

#include "../backend.h"
#include "../text.h"
#include "ppcls/error.h"

namespace ppcls::detail {

namespace {

class OpenVinoBackend final : public Backend {
 public:
  OpenVinoBackend(const Bundle& bundle, const std::string& file, int threads) : bundle_(bundle) {
    try {
      ov::Core core;
      const auto model = core.read_model(bundle.folder + "/" + file);
      const auto compiled =
          core.compile_model(model, "CPU", ov::inference_num_threads(threads),
                             ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
                             ov::hint::inference_precision(ov::element::f32));
      request_ = ov::CompiledModel(compiled).create_infer_request();
    } catch (const std::exception& error) {
      throw BundleError(bundle.folder + "/" + file +
                        ": OpenVINO cannot load it: " + one_line(error.what()));
    }
  }

  std::vector<float> run(const Batch& batch) override {
    const auto count = static_cast<std::size_t>(batch.count);
    const auto height = static_cast<std::size_t>(bundle_.height);
    const auto width = static_cast<std::size_t>(bundle_.width);
    const auto channels = static_cast<std::size_t>(bundle_.channels);
    try {
      // The tensor refers to the caller's memory: no copy.
      request_.set_input_tensor(
          bundle_.takes_pixels
              ? ov::Tensor(ov::element::u8, {count, height, width, channels}, batch.data)
              : ov::Tensor(ov::element::f32, {count, channels, height, width}, batch.data));
      request_.infer();
      const ov::Tensor out = request_.get_output_tensor(0);
      const float* values = out.data<float>();
      return {values, values + out.get_size()};
    } catch (const std::exception& error) {
      throw RunError("OpenVINO: " + one_line(error.what()));
    }
  }

 private:
  const Bundle& bundle_;
  ov::InferRequest request_;
};

}  // namespace

BackendFacts openvino_facts() {
  BackendFacts facts;
  facts.name = "openvino";
  facts.reads = {"inference.onnx"};
  facts.remedy = "ppcls export --onnx";
  facts.devices = {"cpu"};
  const ov::Version version = ov::get_openvino_version();
  facts.version = version.buildNumber;
  facts.version = facts.version.substr(0, facts.version.find('-'));
  facts.open = [](const Bundle& bundle, const std::string& file, const std::string&, int threads) {
    return std::unique_ptr<Backend>(new OpenVinoBackend(bundle, file, threads));
  };
  return facts;
}

}  // namespace ppcls::detail
