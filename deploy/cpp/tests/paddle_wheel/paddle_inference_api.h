// The part of Paddle Inference's C++ interface that src/backends/paddle.cpp calls, declared anew:
// the Python wheel has the symbols and no headers. For tests alone; the official C++ package brings
// its own header of this name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace paddle {

struct AnalysisConfig {
  enum class Precision { kFloat32 = 0, kInt8, kHalf, kBf16 };

  AnalysisConfig(const std::string& graph, const std::string& weights);
  void DisableGlogInfo();
  void DisableGpu();
  void SetCpuMathLibraryNumThreads(int threads);
  void EnableUseGpu(std::uint64_t megabytes, int device, Precision precision);
  void EnableTensorRtEngine(std::int64_t workspace, int max_batch, int min_subgraph,
                            Precision precision, bool use_static, bool use_calibration,
                            bool use_cuda_graph);
  void CollectShapeRangeInfo(const std::string& path);
  void EnableTunedTensorRtDynamicShape(const std::string& path, bool allow_build_at_runtime);
  void SetOptimCacheDir(const std::string& folder);

 private:
  // More than the members take; without the real destructor, they are never released.
  alignas(16) char members_[1 << 14];
};

}  // namespace paddle

namespace paddle_infer {

using Config = paddle::AnalysisConfig;
using PrecisionType = Config::Precision;

class Tensor {
 public:
  void Reshape(const std::vector<int>& shape);
  template <typename T>
  void CopyFromCpu(const T* data);
  template <typename T>
  void CopyToCpu(T* data) const;
  std::vector<int> shape() const;
};

class Predictor {
 public:
  std::vector<std::string> GetInputNames();
  std::vector<std::string> GetOutputNames();
  std::unique_ptr<Tensor> GetInputHandle(const std::string& name);
  std::unique_ptr<Tensor> GetOutputHandle(const std::string& name);
  bool Run();
};

std::shared_ptr<Predictor> CreatePredictor(const Config& config);
std::string GetVersion();

}  // namespace paddle_infer
