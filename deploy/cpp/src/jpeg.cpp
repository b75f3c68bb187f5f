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
constexpr std::int64_t kScannedShare = 25;

struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
  int first_warning;
  bool has_ended_early;
};

ErrorManager* manager_of(j_common_ptr info) { return reinterpret_cast<ErrorManager*>(info->err); }

void on_error(j_common_ptr info) {
  ErrorManager* manager = manager_of(info);
  info->err->format_message(info, manager->message);
  std::longjmp(manager->jump, 1);
}

void on_message(j_common_ptr info, int level) {
  ErrorManager* manager = manager_of(info);
  if (level >= 0) return;
  manager->has_ended_early |= info->err->msg_code == JWRN_JPEG_EOF;
  if (manager->first_warning == 0) {
    manager->first_warning = info->err->msg_code;
    info->err->format_message(info, manager->message);
  }
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
      std::strcpy(errors_.message,
                  "scans are missing, which versions of libjpeg smooth differently");
      return false;
    }
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = out + info_.output_scanline * stride;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    has_all_rows_ = !errors_.has_ended_early;
    jpeg_finish_decompress(&info_);
    return true;
  }

  bool is_cmyk() const {
    return info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK;
  }
  /// Whether TurboJPEG, with which Python reads ordinary images, knows the subsampling. Pillow
  /// reads the others, and does not mind warnings.
  bool has_usual_sampling() const {
    if (is_cmyk()) return false;
    if (info_.num_components == 1) return true;
    if (info_.num_components != 3) return false;
    const jpeg_component_info* parts = info_.comp_info;
    const int wide = parts[0].h_samp_factor;
    const int high = parts[0].v_samp_factor;
    const auto others_have = [parts](int across, int down) {
      return parts[1].h_samp_factor == across && parts[1].v_samp_factor == down &&
             parts[2].h_samp_factor == across && parts[2].v_samp_factor == down;
    };
    const bool is_named =
        (wide <= 2 && high <= 2) || (wide == 4 && high == 1) || (wide == 1 && high == 4);
    const bool is_doubled = wide == 2 && high == 2 && (others_have(1, 2) || others_have(2, 1));
    const bool is_full = wide * high <= 3 && others_have(wide, high);
    return (is_named && others_have(1, 1)) || is_doubled || is_full;
  }
  int width() const { return static_cast<int>(info_.image_width); }
  int height() const { return static_cast<int>(info_.image_height); }
  bool has_ended_early() const { return errors_.has_ended_early; }
  bool has_all_rows() const { return has_all_rows_; }
  int first_warning() const { return errors_.first_warning; }
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
  bool has_all_rows_ = false;
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

/// Facts before the first scan (ITU-T T.81, annex B); stray bytes between segments count as all.
struct Header {
  bool in_scans = false;
  std::int64_t pixels = 0;
  std::int64_t components = 0;
};

Header read_facts(Bytes file) {
  Header header;
  const std::uint8_t* data = file.data;
  std::size_t at = 2;
  while (at + 4 <= file.size && data[at] == 0xFF) {
    const unsigned marker = data[at + 1];
    if (marker == 0xDA) {
      // A sequential image with all components in its first scan has only that one.
      const int count = at + 4 < file.size ? data[at + 4] : 0;
      header.in_scans |= header.pixels == 0 || count != header.components;
      return header;
    }
    const bool is_frame =
        marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
    if (is_frame && at + 10 <= file.size) {
      const std::int64_t height = data[at + 5] << 8 | data[at + 6];
      header.pixels = height * (data[at + 7] << 8 | data[at + 8]);
      header.components = data[at + 9];
      header.in_scans |= (marker & 3U) == 2;
    }
    at += 2 + (std::size_t{data[at + 2]} << 8 | data[at + 3]);
  }
  header.in_scans = true;
  return header;
}

/// Raise ImageError for an image whose scans would take much more time or memory than its pixels.
void check_scans(Bytes file, const std::string& name, const DecodeOptions& options) {
  const Header header = read_facts(file);
  if (!header.in_scans) return;
  std::int64_t scans = 0;
  for (std::size_t i = 0; i + 1 < file.size; ++i) {
    scans += file.data[i] == 0xFF && file.data[i + 1] == 0xDA;
  }
  const auto refuse = [&name](const std::string& why) { throw ImageError(why, name, "JPEG"); };
  const auto text = [](std::int64_t number) { return std::to_string(number); };
  if (scans > kMaxScans) refuse(text(scans) + " scans, more than " + text(kMaxScans));
  if (scans * header.pixels > kScannedShare * options.max_pixels) {
    refuse(text(scans) + " scans of " + text(header.pixels) + " pixels, more than " +
           text(kScannedShare * options.max_pixels) + " together");
  }
  const std::int64_t most = options.max_pixels * 16 / 5;
  if (header.pixels * header.components > most) {
    refuse(text(header.components) + " components of " + text(header.pixels) +
           " pixels in several scans, more than " + text(most) + " samples");
  }
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
  check_scans(file, name, options);
  Reader reader(file);
  if (!reader.read_header()) throw refuse(reader.message());
  check_size(reader.width(), reader.height(), name, "JPEG", options);
  const bool is_usual = reader.has_usual_sampling();
  const int orientation = orientation_of(reader.markers());  // decoding releases them
  cv::Mat image(reader.height(), reader.width(), reader.is_cmyk() ? CV_8UC4 : CV_8UC3);
  if (!reader.decode(image.data, image.step)) throw refuse(reader.message());
  // libjpeg fills what is missing with gray and warns. Stray bytes between segments are harmless.
  const int warning = reader.first_warning();
  const bool is_final = warning == JWRN_HIT_MARKER || warning == JWRN_HUFF_BAD_CODE;
  const std::string_view all(reinterpret_cast<const char*>(file.data), file.size);
  const bool has_end = all.find("\xff\xd9") != all.npos;
  const bool is_cut = reader.has_ended_early() && !(reader.has_all_rows() && has_end);
  if (is_usual ? is_final || reader.has_ended_early() : is_cut) throw refuse(reader.message());
  if (reader.is_cmyk()) image = cmyk_to_rgb(image);
  return {image, orientation};
}

}  // namespace ppcls::detail
