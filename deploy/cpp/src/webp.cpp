// WebP, with libwebp: the first frame.
#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "decoders.h"
#include "ppcls/error.h"

namespace ppcls::detail {

namespace {

/// Of the limit on pixels: each takes 14 to 16 bytes.
constexpr double kShare = 0.6;

int orientation_of(const WebPData& file) {
  Orientation found;
  const std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)> demuxer(WebPDemux(&file),
                                                                         WebPDemuxDelete);
  if (!demuxer) return 1;
  WebPChunkIterator chunk;
  if (WebPDemuxGetChunk(demuxer.get(), "EXIF", 1, &chunk) != 0) {
    found.exif({chunk.chunk.bytes, chunk.chunk.size});
    WebPDemuxReleaseChunkIterator(&chunk);
  }
  if (WebPDemuxGetChunk(demuxer.get(), "XMP ", 1, &chunk) != 0) {
    found.xmp({chunk.chunk.bytes, chunk.chunk.size});
    WebPDemuxReleaseChunkIterator(&chunk);
  }
  return found.value();
}

}  // namespace

Decoded decode_webp(Bytes file, const std::string& name, const DecodeOptions& options) {
  const auto refuse = [&name](const std::string& why) {
    return ImageError("the image is truncated or damaged: " + why, name, "WebP");
  };
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(file.data, file.size, &features) != VP8_STATUS_OK) {
    throw refuse("no valid header");
  }
  // Decoding takes 14 bytes a pixel, instead of 3 to 9 of other formats.
  check_pixels(features.width, features.height, name, "WebP", options.max_pixels * 6 / 10,
               " of WebP");
  check_size(features.width, features.height, name, "WebP", options);
  const auto most = static_cast<std::int64_t>(static_cast<double>(options.max_pixels) * kShare);
  if (std::int64_t{features.width} * features.height > most) {
    throw ImageError("too many pixels: " + std::to_string(features.width) + "x" +
                         std::to_string(features.height) + ", more than the limit of WebP of " +
                         std::to_string(most),
                     name, "WebP");
  }
  const WebPData data{file.data, file.size};
  WebPAnimDecoderOptions how;
  WebPAnimDecoderOptionsInit(&how);
  how.color_mode = MODE_RGBA;
  const std::unique_ptr<WebPAnimDecoder, decltype(&WebPAnimDecoderDelete)> decoder(
      WebPAnimDecoderNew(&data, &how), WebPAnimDecoderDelete);
  if (!decoder) throw refuse("its chunks do not fit together");
  std::uint8_t* pixels = nullptr;
  int timestamp = 0;
  if (WebPAnimDecoderGetNext(decoder.get(), &pixels, &timestamp) == 0) {
    throw refuse("the pixels cannot be decoded");
  }
  cv::Mat image(features.height, features.width, CV_8UC3);
  for (int y = 0; y < image.rows; ++y) {
    auto* to = image.ptr<cv::Vec3b>(y);
    for (int x = 0; x < image.cols; ++x, pixels += 4) {
      const unsigned alpha = features.has_alpha != 0 ? pixels[3] : 255;
      for (int c = 0; c < 3; ++c) to[x][c] = on_white(pixels[c], alpha);
    }
  }
  return {image, orientation_of(data)};
}

}  // namespace ppcls::detail
