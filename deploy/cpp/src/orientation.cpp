#include <cmath>
#include <cstring>
#include <iterator>
#include <set>
#include <string_view>

#include "decoders.h"

namespace ppcls::detail {

namespace {

constexpr char kExifHeader[] = "Exif\0";  // with the final zero, six bytes
constexpr unsigned kOrientationTag = 0x0112;

/// An orientation in EXIF that is not valid; it hides that of XMP, as in Pillow.
constexpr int kInvalid = -1;

bool is_tiff(Bytes block) {
  for (const char* magic : {"II*\0", "MM\0*", "II\0*", "MM*\0"}) {
    if (std::memcmp(block.data, magic, 4) == 0) return true;
  }
  return false;
}

/// Return the size of a value of a type (TIFF 6.0, page 15, and later ones); 0 if it is unknown.
unsigned bytes_of(unsigned type) {
  constexpr unsigned kBytes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};
  return type < std::size(kBytes) ? kBytes[type] : 0;
}

/// Reads the integers of a TIFF structure; 0 beyond its end.
class Tiff {
 public:
  explicit Tiff(Bytes block) : block_(block), is_little_(block.data[0] == 'I') {}

  std::uint64_t at(std::size_t offset, unsigned bytes) const {
    if (offset > block_.size || block_.size - offset < bytes) return 0;
    std::uint64_t value = 0;
    for (unsigned i = 0; i < bytes; ++i) {
      const unsigned shift = 8 * (is_little_ ? i : bytes - 1 - i);
      value |= static_cast<std::uint64_t>(block_.data[offset + i]) << shift;
    }
    return value;
  }

 private:
  Bytes block_;
  bool is_little_;
};

template <typename To, typename From>
To same_bits(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To out;
  std::memcpy(&out, &value, sizeof(out));
  return out;
}

/// Return a value of a type as a number; 0 for text and bytes.
double number(const Tiff& tiff, unsigned type, std::size_t at) {
  const auto four = [&tiff, at](std::size_t i) {
    return static_cast<std::uint32_t>(tiff.at(at + 4 * i, 4));
  };
  switch (type) {
    case 3:
    case 4:
    case 13:
    case 16:
      return static_cast<double>(tiff.at(at, bytes_of(type)));
    case 5:
      return four(1) == 0 ? 0.0 : static_cast<double>(four(0)) / four(1);
    case 6:
      return static_cast<std::int8_t>(tiff.at(at, 1));
    case 8:
      return static_cast<std::int16_t>(tiff.at(at, 2));
    case 9:
      return static_cast<std::int32_t>(four(0));
    case 10:
      return four(1) == 0 ? 0.0
                          : static_cast<double>(static_cast<std::int32_t>(four(0))) /
                                static_cast<std::int32_t>(four(1));
    case 11:
      return same_bits<float>(four(0));
    case 12:
      return same_bits<double>(tiff.at(at, 8));
    default:
      return 0.0;
  }
}

}  // namespace

void Orientation::exif(Bytes block) {
  for (int i = 0; i < 2 && block.size >= 6 && std::memcmp(block.data, kExifHeader, 6) == 0; ++i) {
    block = {block.data + 6, block.size - 6};
  }
  exif_ = 0;
  if (block.size == 0) return;
  if (block.size < 8 || !is_tiff(block)) {
    exif_ = kInvalid;
    return;
  }
  const Tiff tiff(block);
  const std::size_t directory = tiff.at(4, 4);
  const auto count = static_cast<unsigned>(tiff.at(directory, 2));
  std::set<std::uint64_t> seen;
  std::uint64_t total = 0;
  for (unsigned i = 0; i < count; ++i) {
    const std::size_t entry = directory + 2 + std::size_t{12} * i;
    if (entry + 12 > block.size) return;
    const std::uint64_t tag = tiff.at(entry, 2);
    const auto type = static_cast<unsigned>(tiff.at(entry + 2, 2));
    const std::uint64_t size = tiff.at(entry + 4, 4) * bytes_of(type);
    if (size == 0 || seen.count(tag) != 0) continue;
    std::size_t at = entry + 8;
    if (size > 4) {  // the entry holds the place of the value
      at = tiff.at(entry + 8, 4);
      total += size;
      if (total > block.size) continue;
      if (at > block.size || block.size - at < size) return;
    }
    seen.insert(tag);
    if (tag != kOrientationTag) continue;
    const double value = number(tiff, type, at);
    exif_ =
        value >= 1 && value <= 8 && value == std::floor(value) ? static_cast<int>(value) : kInvalid;
    return;
  }
}

void Orientation::xmp(Bytes text) {
  xmp_ = 0;
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
