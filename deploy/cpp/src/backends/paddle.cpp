// Paddle Inference: runs the bundle's own graph, on a CPU with oneDNN or on a GPU, there also
// through TensorRT.
#include <paddle_inference_api.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <numeric>

#include "../backend.h"
#include "../text.h"
#include "ppcls/error.h"

namespace ppcls::detail {

namespace {

namespace fs = std::filesystem;
using paddle_infer::Config;
using paddle_infer::PrecisionType;

constexpr char kWeights[] = "/inference.pdiparams";
constexpr int kGpuPoolMegabytes = 256;
// As in Python's TensorRTOptions.
constexpr int kMinBatch = 1;
constexpr int kUsualBatch = 8;
constexpr int kMaxBatch = 32;
constexpr int kMinSubgraph = 3;
constexpr std::int64_t kWorkspace = std::int64_t{1} << 30;

/// Return Paddle's reason, which follows the stack traces of both languages.
std::string reason_of(const std::string& text) {
  const auto at = text.find("Error: ");
  if (at == text.npos) return one_line(text);
  const auto start = text.find_last_of('\n', at) + 1;
  return text.substr(start, text.find('\n', at) - start);
}

class PaddleBackend : public Backend {
 public:
  PaddleBackend(const Bundle& bundle, const Config& config) : bundle_(bundle) {
    try {
      engine_ = paddle_infer::CreatePredictor(config);
      input_ = engine_->GetInputHandle(engine_->GetInputNames().at(0));
      output_ = engine_->GetOutputHandle(engine_->GetOutputNames().at(0));
    } catch (const std::exception& error) {
      throw BundleError(bundle.folder +
                        ": Paddle Inference cannot load it: " + reason_of(error.what()));
    }
  }

  std::vector<float> run(const Batch& batch) override {
    const auto& b = bundle_;
    try {
      if (b.takes_pixels) {
        input_->Reshape({batch.count, b.height, b.width, b.channels});
        input_->CopyFromCpu(static_cast<const std::uint8_t*>(batch.data));
      } else {
        input_->Reshape({batch.count, b.channels, b.height, b.width});
        input_->CopyFromCpu(static_cast<const float*>(batch.data));
      }
      if (!engine_->Run()) throw RunError("Paddle Inference: the network failed");
      const auto shape = output_->shape();
      const auto size = std::accumulate(shape.begin(), shape.end(), 1, std::multiplies<>());
      std::vector<float> out(static_cast<std::size_t>(size));
      output_->CopyToCpu(out.data());
      return out;
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      throw RunError("Paddle Inference: " + reason_of(error.what()));
    }
  }

 private:
  const Bundle& bundle_;
  std::shared_ptr<paddle_infer::Predictor> engine_;
  std::unique_ptr<paddle_infer::Tensor> input_;
  std::unique_ptr<paddle_infer::Tensor> output_;
};

class TensorRtBackend final : public PaddleBackend {
 public:
  using PaddleBackend::PaddleBackend;

  std::vector<float> run(const Batch& batch) override {
    if (batch.count > kMaxBatch) {
      throw RunError("the batch size is " + std::to_string(batch.count) +
                     ", but the TensorRT engine is built for " + std::to_string(kMinBatch) +
                     " to " + std::to_string(kMaxBatch) + ": choose another batch size");
    }
    return PaddleBackend::run(batch);
  }
};

void configure(Config& config, const std::string& device, int threads) {
  config.DisableGlogInfo();
  if (device == "gpu") {
    config.EnableUseGpu(kGpuPoolMegabytes, 0, PrecisionType::kFloat32);
    return;
  }
  config.DisableGpu();
  config.SetCpuMathLibraryNumThreads(threads);
  // oneDNN is on by default.
}

std::unique_ptr<Backend> open_paddle(const Bundle& bundle, const std::string& file,
                                     const std::string& device, int threads) {
  Config config(bundle.folder + "/" + file, bundle.folder + kWeights);
  configure(config, device, threads);
  return std::make_unique<PaddleBackend>(bundle, config);
}

/// Return the folder of an engine: it fits one graph, one GPU and one version.
fs::path engine_folder(const Bundle& bundle, const std::string& file) {
  const char* own = std::getenv("PPCLS_HOME");
  const fs::path cache = own != nullptr ? fs::path(own) : fs::path(plain_path("~/.cache/ppcls"));
  const auto at = bundle.files.find(file);
  const std::string key = at == bundle.files.end() ? bundle.folder : at->second;
  const auto hash = std::hash<std::string>()(key + paddle_infer::GetVersion());
  return cache / "tensorrt" / ("cpp-" + std::to_string(hash));
}

std::unique_ptr<Backend> open_tensorrt(const Bundle& bundle, const std::string& file,
                                       const std::string& device, int threads) {
  const fs::path kept = engine_folder(bundle, file);
  const std::string shapes = (kept / "shapes.pbtxt").string();
  fs::create_directories(kept);
  if (!fs::exists(shapes)) {
    // The smallest, usual and largest batch, so that Paddle records all inner shapes.
    Config config(bundle.folder + "/" + file, bundle.folder + kWeights);
    configure(config, device, threads);
    config.CollectShapeRangeInfo(shapes);
    PaddleBackend backend(bundle, config);
    std::vector<float> zeros(static_cast<std::size_t>(kMaxBatch) * bundle.channels * bundle.height *
                             bundle.width);
    for (const int count : {kMinBatch, kUsualBatch, kMaxBatch}) backend.run({zeros.data(), count});
  }
  Config config(bundle.folder + "/" + file, bundle.folder + kWeights);
  configure(config, device, threads);
  config.EnableTensorRtEngine(kWorkspace, kMaxBatch, kMinSubgraph, PrecisionType::kFloat32, true,
                              false, false);
  config.EnableTunedTensorRtDynamicShape(shapes, true);
  config.SetOptimCacheDir(kept.string());
  return std::make_unique<TensorRtBackend>(bundle, config);
}

std::string version() {
  const std::string text = paddle_infer::GetVersion();  // `version: 3.3.1` is its first line
  const auto start = text.find(": ");
  return start == text.npos ? text : text.substr(start + 2, text.find('\n') - start - 2);
}

}  // namespace

BackendFacts paddle_facts() {
  BackendFacts facts;
  facts.name = "paddle";
  facts.reads = {"inference.json", "inference.pdmodel"};
  facts.remedy = "ppcls export";
#ifdef PPCLS_PADDLE_GPU
  facts.devices = {"gpu", "cpu"};
#else
  facts.devices = {"cpu"};
#endif
  facts.version = version();
  facts.open = open_paddle;
  return facts;
}

BackendFacts tensorrt_facts() {
  BackendFacts facts = paddle_facts();
  facts.name = "tensorrt";
  facts.reads = {"inference.pdmodel"};
  facts.remedy = "ppcls export --format pdmodel";
  facts.devices = {"gpu"};
  facts.open = open_tensorrt;
  return facts;
}

}  // namespace ppcls::detail
