// Reads arbitrary bytes as the inference.yml of an exported folder.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "ppcls/bundle.h"
#include "ppcls/error.h"

namespace {

/// A folder of this process, removed at its end.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "fuzz_bundle_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~Folder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder folder;
  std::ofstream(folder.path() / "inference.yml", std::ios::binary | std::ios::trunc)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  try {
    const ppcls::Bundle bundle = ppcls::read_bundle(folder.path().string());
    // What a bundle accepts must also run.
    const cv::Mat image(5, 7, CV_8UC3, cv::Scalar(1, 2, 3));
    if (bundle.pipeline(image).empty()) std::abort();
  } catch (const ppcls::Error&) {
    // a refusal
  }
  return 0;
}
