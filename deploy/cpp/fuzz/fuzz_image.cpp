#include "ppcls/error.h"
#include "ppcls/image.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ppcls::DecodeOptions options;
  options.max_pixels = 1'000'000;
  try {
    ppcls::decode_image(data, size, "image", options);
  } catch (const ppcls::ImageError&) {
  }
  return 0;
}
