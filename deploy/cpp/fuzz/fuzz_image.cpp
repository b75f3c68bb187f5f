// Decodes arbitrary bytes as an image.
#include <cstdlib>

#include "ppcls/error.h"
#include "ppcls/image.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const cv::Mat image = ppcls::decode_image(data, size, "input");
    if (image.empty() || image.type() != CV_8UC3) std::abort();
  } catch (const ppcls::ImageError&) {
    // a refusal: the only error that decoding may raise
  }
  return 0;
}
