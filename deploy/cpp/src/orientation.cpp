#include <cstring>
#include <string_view>

#include "decoders.h"

namespace ppcls::detail {

namespace {

constexpr char kExifHeader[] = "Exif\0";  // with the final zero, six bytes
constexpr unsigned kOrientationTag = 0x0112;

/// Reads the integers of a TIFF structure; 0 beyond its end.
class Tiff {
 public:
  explicit Tiff(Bytes block) : block_(block), is_little_(block.data[0] == 'I') {}

  std::uint32_t at(std::size_t offset, int bytes) const {
    if (offset > block_.size || block_.size - offset < static_cast<std::size_t>(bytes)) return 0;
    std::uint32_t value = 0;
    for (int i = 0; i < bytes; ++i) {
      const int shift = 8 * (is_little_ ? i : bytes - 1 - i);
      value |= static_cast<std::uint32_t>(block_.data[offset + i]) << shift;
    }
    return value;
  }

 private:
  Bytes block_;
  bool is_little_;
};

}  // namespace

void Orientation::exif(Bytes block) {
  while (block.size >= 6 && std::memcmp(block.data, kExifHeader, 6) == 0) {
    block = {block.data + 6, block.size - 6};
  }
  if (block.size < 8) return;
  const bool is_tiff =
      std::memcmp(block.data, "II*\0", 4) == 0 || std::memcmp(block.data, "MM\0*", 4) == 0;
  if (!is_tiff) return;
  const Tiff tiff(block);
  const std::size_t directory = tiff.at(4, 4);
  const unsigned count = tiff.at(directory, 2);
  for (unsigned i = 0; i < count; ++i) {
    const std::size_t entry = directory + 2 + std::size_t{12} * i;
    if (entry + 12 > block.size) return;
    if (tiff.at(entry, 2) != kOrientationTag) continue;
    const unsigned type = tiff.at(entry + 2, 2);
    const unsigned value = type == 1   ? tiff.at(entry + 8, 1)
                           : type == 3 ? tiff.at(entry + 8, 2)
                           : type == 4 ? tiff.at(entry + 8, 4)
                                       : 0;
    // A tag with an invalid value still hides that of XMP.
    exif_ = value >= 1 && value <= 8 && tiff.at(entry + 4, 4) == 1 ? static_cast<int>(value) : -1;
    return;
  }
}

void Orientation::xmp(Bytes text) {
  const std::string_view all(reinterpret_cast<const char*>(text.data), text.size);
  constexpr std::string_view kKey = "tiff:Orientation";
  for (auto at = all.find(kKey); at != all.npos; at = all.find(kKey, at + 1)) {
    auto rest = all.substr(at + kKey.size());
    if (rest.substr(0, 2) == "=\"") {
      rest.remove_prefix(2);
    } else if (rest.substr(0, 1) == ">") {
      rest.remove_prefix(1);
    } else {
      continue;
    }
    if (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') {
      xmp_ = rest[0] - '0';
      return;
    }
  }
}

int Orientation::value() const {
  const int found = exif_ != 0 ? exif_ : xmp_;
  return found >= 1 && found <= 8 ? found : 1;
}

}  // namespace ppcls::detail
