#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "ppcls/bundle.h"
#include "ppcls/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string kFolder = [] {
    const auto path =
        std::filesystem::temp_directory_path() / ("ppcls-fuzz-" + std::to_string(getpid()));
    std::filesystem::create_directories(path);
    std::ofstream(path / "inference.json") << "{}";
    return path.string();
  }();
  std::ofstream(kFolder + "/inference.yml", std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  try {
    ppcls::read_bundle(kFolder);
  } catch (const ppcls::BundleError&) {
  }
  return 0;
}
