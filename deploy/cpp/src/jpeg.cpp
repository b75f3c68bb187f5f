// JPEG, with libjpeg-turbo: accurate DCT and smooth chroma upsampling.
#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <tuple>

// jpeglib.h needs the types of stdio.h.
#include <jerror.h>
#include <jpeglib.h>

#include "decoders.h"
#include "ppcls/error.h"

namespace ppcls::detail {

namespace {

constexpr int kMaxScans = 100;
/// Encoders write about ten scans; each costs a pass over the image, even if it has few bytes.
constexpr std::int64_t kScanned = 25;
/// Components of an image in scans, whose coefficients are all in memory.
constexpr double kCoefficients = 3.2;

struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
  bool has_warned;
};

ErrorManager* manager_of(j_common_ptr info) { return reinterpret_cast<ErrorManager*>(info->err); }

void on_error(j_common_ptr info) {
  ErrorManager* manager = manager_of(info);
  info->err->format_message(info, manager->message);
  std::longjmp(manager->jump, 1);
}

void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;  // no warning
  ErrorManager* manager = manager_of(info);
  const int code = info->err->msg_code;
  const bool is_first = !manager->has_warned;
  manager->has_warned = true;
  // libjpeg fills what is missing with gray. Stray bytes between segments are harmless; Python
  // reads such a file with a decoder that only an early end stops.
  const bool lacks_data = code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE;
  if (code == JWRN_JPEG_EOF || (is_first && lacks_data)) on_error(info);
}

void print_nothing(j_common_ptr) {}

/// Decodes in steps; libjpeg reports errors by longjmp, so no step has objects to destroy.
class Reader {
 public:
  explicit Reader(Bytes file) {
    std::memset(&info_, 0, sizeof(info_));
    std::memset(&errors_, 0, sizeof(errors_));
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = on_error;
    errors_.base.emit_message = on_message;
    errors_.base.output_message = print_nothing;
    if (setjmp(errors_.jump) == 0) {
      jpeg_create_decompress(&info_);
      for (const int app : {0, 1, 2, 14}) jpeg_save_markers(&info_, JPEG_APP0 + app, 0xFFFF);
      jpeg_mem_src(&info_, file.data, file.size);
    }
  }
  ~Reader() { jpeg_destroy_decompress(&info_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  bool read_header() {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_read_header(&info_, TRUE);
    return true;
  }

  /// Decode rows of 3 (gray and colour) or 4 (CMYK) channels.
  bool decode(std::uint8_t* out, std::size_t stride) {
    if (setjmp(errors_.jump) != 0) return false;
    info_.out_color_space = is_cmyk() ? JCS_CMYK : JCS_RGB;
    info_.dct_method = JDCT_ISLOW;
    info_.do_fancy_upsampling = TRUE;
    jpeg_start_decompress(&info_);
    if (lacks_scans()) {
      std::strcpy(errors_.message, "scans are missing, which versions of libjpeg smooth differently");
      return false;
    }
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = out + info_.output_scanline * stride;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    jpeg_finish_decompress(&info_);
    return true;
  }

  bool is_cmyk() const {
    return info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK;
  }
  int width() const { return static_cast<int>(info_.image_width); }
  int height() const { return static_cast<int>(info_.image_height); }
  /// Whether the image may have several scans.
  bool in_scans() const {
    return info_.progressive_mode != 0 || info_.comps_in_scan != info_.num_components;
  }
  int components() const { return info_.num_components; }
  std::string message() const { return errors_.message; }
  const jpeg_marker_struct* markers() const { return info_.marker_list; }

 private:
  /// Whether libjpeg smooths blocks, because the last bits of their low frequencies are missing.
  bool lacks_scans() const {
    constexpr int kSmoothed = 10;
    if (info_.coef_bits == nullptr) return false;
    bool is_coarse = false;
    for (int c = 0; c < info_.num_components; ++c) {
      const int* bits = info_.coef_bits[c];
      if (bits[0] < 0) return false;  // it does not smooth without the means
      is_coarse |= std::any_of(bits + 1, bits + kSmoothed, [](int left) { return left != 0; });
    }
    return is_coarse;
  }

  jpeg_decompress_struct info_;
  ErrorManager errors_;
};

int orientation_of(const jpeg_marker_struct* marker) {
  constexpr std::string_view kExif("Exif\0\0", 6);
  constexpr std::string_view kXmp("http://ns.adobe.com/xap/1.0/\0", 29);
  constexpr std::string_view kIcc("ICC_PROFILE\0", 12);
  // Pillow reads no metadata of a file with a segment shorter than what it takes from it.
  const std::tuple<int, std::string_view, std::size_t> least[] = {
      {0, "JFIF", 7}, {2, kIcc, 14}, {14, "Adobe", 7}};
  Orientation found;
  std::string exif;
  for (; marker != nullptr; marker = marker->next) {
    const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    for (const auto& [app, magic, size] : least) {
      if (marker->marker == JPEG_APP0 + app && data.substr(0, magic.size()) == magic &&
          data.size() < size) {
        return 1;
      }
    }
    if (marker->marker != JPEG_APP0 + 1) continue;
    if (data.substr(0, kExif.size()) == kExif) {
      exif += data.substr(kExif.size());  // a long block has several segments
    } else if (data.substr(0, kXmp.size()) == kXmp) {
      found.xmp({marker->data + kXmp.size(), marker->data_length - kXmp.size()});
    }
  }
  found.exif({reinterpret_cast<const std::uint8_t*>(exif.data()), exif.size()});
  return found.value();
}

int count_scans(Bytes file) {
  int scans = 0;
  for (std::size_t i = 0; i + 1 < file.size; ++i) {
    scans += file.data[i] == 0xFF && file.data[i + 1] == 0xDA;
  }
  return scans;
}

void check_scans(const Reader& reader, int scans, const std::string& name,
                 const DecodeOptions& options) {
  const std::int64_t pixels = std::int64_t{reader.width()} * reader.height();
  const std::int64_t most = kScanned * options.max_pixels;
  const auto samples =
      static_cast<std::int64_t>(kCoefficients * static_cast<double>(options.max_pixels));
  std::string why;
  if (scans > kMaxScans) {
    why = std::to_string(scans) + " scans, more than " + std::to_string(kMaxScans);
  } else if (pixels * scans > most) {
    why = std::to_string(scans) + " scans of " + std::to_string(pixels) + " pixels, more than " +
          std::to_string(most) + " together";
  } else if (pixels * reader.components() > samples) {
    why = std::to_string(reader.components()) + " components of " + std::to_string(pixels) +
          " pixels in several scans, more than " + std::to_string(samples) + " samples";
  }
  if (!why.empty()) throw ImageError(why, name, "JPEG");
}

cv::Mat cmyk_to_rgb(const cv::Mat& cmyk) {
  cv::Mat out(cmyk.rows, cmyk.cols, CV_8UC3);
  for (int y = 0; y < cmyk.rows; ++y) {
    const auto* from = cmyk.ptr<cv::Vec4b>(y);
    auto* to = out.ptr<cv::Vec3b>(y);
    for (int x = 0; x < cmyk.cols; ++x) {
      // JPEG files store the inks inverted: these are amounts of light.
      for (int c = 0; c < 3; ++c) {
        const unsigned black = from[x][3];
        const unsigned ink = 255U - from[x][c];
        const int light = static_cast<int>(black) - static_cast<int>(times_255(ink, black));
        to[x][c] = static_cast<std::uint8_t>(std::max(light, 0));
      }
    }
  }
  return out;
}

}  // namespace

Decoded decode_jpeg(Bytes file, const std::string& name, const DecodeOptions& options) {
  const auto refuse = [&name](const std::string& why) {
    return ImageError("the image is truncated or damaged: " + why, name, "JPEG");
  };
  Reader reader(file);
  if (!reader.read_header()) throw refuse(reader.message());
  check_size(reader.width(), reader.height(), name, "JPEG", options);
  if (reader.in_scans()) check_scans(reader, count_scans(file), name, options);
  const int orientation = orientation_of(reader.markers());  // decoding releases them
  cv::Mat image(reader.height(), reader.width(), reader.is_cmyk() ? CV_8UC4 : CV_8UC3);
  if (!reader.decode(image.data, image.step)) throw refuse(reader.message());
  if (reader.is_cmyk()) image = cmyk_to_rgb(image);
  return {image, orientation};
}

}  // namespace ppcls::detail
